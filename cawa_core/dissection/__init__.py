"""Units against concepts: which channels draw which thing (Bau et al. 2018, arXiv 1811.10597; 2020)."""
