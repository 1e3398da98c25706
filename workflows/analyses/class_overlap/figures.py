"""Figure of the channels that pairs of classes share (paper, Fig. 5a)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from cawa_core.rendering.figures import MOST_LABELS, MOST_NUMBERS, Array, Picture, draw
from cawa_core.rendering.palette import light

MOST_NAMED = 40
"""Most classes that are named beside an overlap map; for more, it shows colours only."""
MOST_CELLS = 500
"""Most classes with one cell each in an overlap map; for more, neighbours are averaged."""


def overlap_heatmap(name: str, title: str, matrix: Array, labels: Sequence[str], chance: float) -> Picture:
    """Draw the overlap of the classes' top channels (Fig. 5a); colour starts at chance, many classes are not named."""
    cells = averaged_neighbours(np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix), MOST_CELLS)
    known = cells[np.isfinite(cells)]
    top = max(float(known.max(initial=chance)), chance + 1e-9)
    shares = np.nan_to_num(np.clip((cells - chance) / (top - chance), 0, 1))
    named = len(matrix) <= MOST_NAMED

    def paint(axes: Axes) -> None:
        ends = (-0.5, len(matrix) - 0.5)
        if len(matrix) <= MOST_NUMBERS:
            _numbered_cells(axes, matrix, shares)
        else:
            colours = np.broadcast_to(to_rgba(light("blue")), (*shares.shape, 4)).copy()
            colours[..., 3] = 0.75 * shares
            axes.imshow(colours, extent=(*ends, *ends[::-1]), interpolation="none")
        axes.set(title=title, xlim=ends, ylim=ends[::-1], aspect="equal")
        places = range(len(labels) if named else 0)
        size = 5.5 if len(labels) > MOST_LABELS else None
        axes.set_xticks(places, labels[: len(places)], rotation=55, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(places, labels[: len(places)], fontsize=size)
        if not named:
            axes.set_xlabel(f"{len(labels):,} classes, similar classes side by side")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    alt = f"{title}: percentage of top channels that each pair of classes has in common; {chance:.0%} by chance"
    return draw(name, alt, (3.5, 3.5), paint)


def _numbered_cells(axes: Axes, matrix: Array, shares: Array) -> None:
    for row, column in zip(*np.nonzero(~np.eye(len(matrix), dtype=bool)), strict=True):
        corner = (column - 0.5, row - 0.5)
        alpha = 0.75 * float(shares[row, column])
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=light("blue"), alpha=alpha, edgecolor="none"))
        axes.text(column, row, f"{100 * matrix[row, column]:.0f}", ha="center", va="center", fontsize=7)


def averaged_neighbours(matrix: Array, most: int) -> Array:
    """Shrink a square matrix to at most ``most`` rows by averaging blocks of neighbours; NaN is left out."""
    size = -(-len(matrix) // most)
    starts = np.arange(0, len(matrix), size)

    def sums(values: Array) -> Array:
        return np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)

    known = np.isfinite(matrix)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums(np.where(known, matrix, 0)) / sums(known.astype(np.float64)))
