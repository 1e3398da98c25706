"""Applications of awareness (paper, section 5): images from changed features at a site."""
