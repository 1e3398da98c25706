"""Edits of single channels, and the search for good ones (paper, Fig. 5b)."""
