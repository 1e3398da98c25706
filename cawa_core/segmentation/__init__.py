"""Segmentation of generated images by clustering channel activations (paper, Sec. 5.3)."""
