"""Kinds of images of a pair of classes."""

from __future__ import annotations

MIXED = ("style_mixing", "channel_mixing")
"""Images between the two classes."""
KINDS = ("input", "reference", *MIXED)
"""Kinds of images that are compared: those of the two classes, and those between them."""
