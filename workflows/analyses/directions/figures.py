"""Figures of directions: how far each way moves concepts, and what else a set moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.palette import light
from workflows.analyses.directions import BOTTOM, GANSPACE, OPTIMISED, RANDOM, SEFA, SEQUENTIAL, WAYS
from workflows.analyses.latents.results import shortened

SHORT_WORDS = {
    SEQUENTIAL: "sequential",
    OPTIMISED: "optimised",
    BOTTOM: "smallest effects",
    RANDOM: "random",
    SEFA: "SeFa",
    GANSPACE: "GANSpace",
}
"""Names of the ways in the legend of a figure."""
WAY_COLOURS = dict(zip(WAYS, ("blue", "green", "pink", "muted", "amber", "violet"), strict=True))
FULL_COLOUR = 1.0
"""Change, in standard deviations, that the matrix draws in full colour."""


def way_curves(space: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the mean change of concepts by the length of the step, for every way."""

    def paint(axes: Axes) -> None:
        for way in WAYS:
            known = [row for row in rows if row["way"] == way and row["space"] == space]
            known = [row for row in known if row["change_size"] is not None]
            if not known:
                continue
            x = [0.0, *(row["strength"] for row in known)]
            y = [0.0, *(row["change_size"] for row in known)]
            colour = light(WAY_COLOURS[way])
            axes.plot(x, y, "o-", color=colour, markersize=4, label=SHORT_WORDS[way])
            ends = [[0.0, 0.0], *(row["change_size_ci"] or [row["change_size"]] * 2 for row in known)]
            axes.fill_between(x, *np.transpose(ends), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        axes.set(title=f"Steps in {space} dimensions", xlabel="length of the step", ylabel="change of the concept")
        legend_above(axes, 0.5, "upper center", columns=2)

    alt = f"Mean change of concepts by the length of a step in {space} dimensions, for every way"
    return draw(f"directions-{space}", alt, SIZE, paint)


def rescoring_picture(matrix: Mapping[str, Any]) -> Picture:
    """Draw the change of every concept (columns) by the set of every concept (rows); blue rises, red falls."""
    values = np.array(matrix["values"], dtype=np.float64).reshape(len(matrix["moved"]), len(matrix["scored"]))
    title = f"Re-scoring: {matrix['way']} sets, {matrix['space']}"

    def paint(axes: Axes) -> None:
        colours = np.empty((*values.shape, 4))
        colours[..., :3] = np.where((values >= 0)[..., None], to_rgb(light("blue")), to_rgb(light("red")))
        colours[..., 3] = np.clip(np.abs(np.nan_to_num(values)) / FULL_COLOUR, 0, 1)
        axes.imshow(colours, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(matrix["moved"])), [shortened(name) for name in matrix["moved"]], fontsize=6)
        axes.set_xticks(
            range(len(matrix["scored"])), [shortened(name) for name in matrix["scored"]], fontsize=6, rotation=90
        )
        axes.set_title(title)

    alt = f"{title}: mean change of each concept (columns) by the set of each concept (rows)"
    height = 2.2 + 0.13 * len(matrix["moved"])
    return draw(f"directions-{matrix['space']}-{matrix['way']}", alt, (SIZE[0] * 1.2, height), paint)
