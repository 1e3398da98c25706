"""Applications of the channels (paper, section 5): images from changed features at a site."""
