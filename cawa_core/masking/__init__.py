"""Masking: what setting channels to zero does to a classifier's score (paper sec. 4.1)."""
