"""What the channels are good for (paper, section 5): changes of features at a site, and the pictures they make."""
