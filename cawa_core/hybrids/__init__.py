"""Hybrids of two classes, by mixing channels or styles (paper, Sec. 5.2)."""
