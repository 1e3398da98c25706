"""A canvas of materials, painted from back to front with shapes that are one interval per row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Canvas:
    """Material of each point of a grid, for several pictures at once; coordinates run from 0 to 1, y downwards.

    A shape is a centre ``[n]`` or ``[n, R]`` and half its width at each row ``[n, R]``, at most 0 where the shape is
    not. Its values depend on its own picture only.

    Args:
        n: number of pictures.
        resolution: points per side R.

    Attributes:
        materials: material of each point, uint8 ``[n, R, R]``, 0 before anything is painted.
        y: height of each row ``[1, R]``.
    """

    def __init__(self, n: int, resolution: int) -> None:
        points = (np.arange(resolution, dtype=np.float32) + np.float32(0.5)) / np.float32(resolution)
        self.x = points[None, None, :]
        self.y = points[None, :]
        self.materials = np.zeros((n, resolution, resolution), dtype=np.uint8)

    def paint(
        self, material: int, centre: Floats, half_width: Floats, present: NDArray[np.bool_] | None = None
    ) -> None:
        """Paint a shape in the pictures where it is present."""
        centres = centre[:, None] if centre.ndim == 1 else centre
        if present is not None:
            half_width = np.where(present[:, None], half_width, np.float32(0))
        touched = np.flatnonzero((half_width > 0).any(axis=0))
        if not len(touched):
            return
        rows = slice(touched[0], touched[-1] + 1)
        centres = centres if centres.shape[1] == 1 else centres[:, rows]
        inside = np.abs(self.x - centres[:, :, None]) < half_width[:, rows, None]
        np.copyto(self.materials[:, rows], np.uint8(material), where=inside)

    def box(self, top: Floats, bottom: Floats, half_width: Floats) -> Floats:
        """Return the half-widths of an upright rectangle."""
        return self.trapezium(top, bottom, half_width, half_width)

    def trapezium(self, top: Floats, bottom: Floats, half_at_top: Floats, half_at_bottom: Floats) -> Floats:
        """Return the half-widths of a symmetric trapezium; a triangle if it starts from 0."""
        top, bottom = top[:, None], bottom[:, None]
        depth = (self.y - top) / np.maximum(bottom - top, np.float32(1e-6))
        half = half_at_top[:, None] + (half_at_bottom - half_at_top)[:, None] * depth
        return np.where((self.y >= top) & (self.y < bottom), half, np.float32(0))

    def ellipse(self, centre_y: Floats, half_width: Floats, half_height: Floats) -> Floats:
        """Return the half-widths of an ellipse."""
        height = (self.y - centre_y[:, None]) / half_height[:, None]
        half: Floats = half_width[:, None] * np.sqrt(np.maximum(np.float32(0), 1 - height * height))
        return half
