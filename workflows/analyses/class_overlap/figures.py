"""Figure of the channels that pairs of classes share (paper, Fig. 5a)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from cawa_core.rendering.figures import (
    MOST_LABELS,
    MOST_NUMBERS,
    SIZE,
    Array,
    Picture,
    draw,
    legend_above,
    legible,
)
from cawa_core.rendering.glyphs import shortened
from cawa_core.rendering.pair_map import Cluster, PairMap, PairValues, pair_map
from cawa_core.rendering.palette import light
from cawa_core.statistics.similarity import clusters, medoid, pairs_as_matrix, similar_together
from cawa_core.tables.schema import ALL_SITES
from cawa_core.worlds.factors import NEITHER
from workflows.results.class_resamples import mean_of_known
from workflows.results.rankings import CRITERION_WORDS

MOST_NAMED = 40
"""Most classes with a cell each; more are summarised by clusters."""
FACTOR_COLOURS = ("blue", "green", "amber", "violet")
"""Colours of the pairs of classes that share each of the known factors."""
BY_SITE = "category_highest"
"""Criterion that ranks the channels whose overlap is drawn by site."""
MOST_CLUSTERS = 24
"""Most clusters of classes."""


@dataclasses.dataclass(frozen=True)
class OverlapClasses:
    """Classes whose overlap is drawn.

    Attributes:
        ids: their indices, ascending.
        names: names by index.
        distances: distances between their real images, labelled by class; None if unknown.
    """

    ids: list[int]
    names: Mapping[int, str]
    distances: pd.DataFrame | None


@dataclasses.dataclass(frozen=True)
class DrawnOverlap:
    """Figures of the overlap and, for many classes, a map of all pairs."""

    pictures: tuple[Picture, ...]
    pair_map: PairMap | None = None


def numbered_overlap(overlaps: Mapping[str, pd.DataFrame], classes: OverlapClasses) -> DrawnOverlap:
    """Draw a cell for each pair of few classes; ``overlaps`` has the rows of ``class_overlap`` by criterion."""
    places: Sequence[int] = range(len(classes.ids))
    if classes.distances is not None:
        places = similar_together(classes.distances.loc[classes.ids, classes.ids].to_numpy())
    pictures = []
    for criterion, rows in overlaps.items():
        ranked = set(rows.class_a) | set(rows.class_b)  # without classes whose shard failed
        class_ids = [classes.ids[place] for place in places if classes.ids[place] in ranked]
        labels = [shortened(classes.names[class_id]) for class_id in class_ids]
        pictures.append(overlap_heatmap(criterion, _pairs(rows, class_ids), labels, _by_chance(rows)))
    return DrawnOverlap(tuple(pictures))


def clustered_overlap(overlaps: Mapping[str, pd.DataFrame], classes: OverlapClasses) -> DrawnOverlap:
    """Draw the means over clusters of many classes, and map all pairs.

    Classes are alike if their real images are; without those, if they overlap much by the first criterion.
    """
    matrices = {criterion: _pairs(rows, classes.ids) for criterion, rows in overlaps.items()}
    if classes.distances is None:
        apart = 1 - np.nan_to_num(next(iter(matrices.values())))
        np.fill_diagonal(apart, 0)
    else:
        apart = classes.distances.loc[classes.ids, classes.ids].to_numpy()
    parts = clusters(apart, MOST_CLUSTERS)
    central = [classes.names[classes.ids[part[medoid(apart[np.ix_(part, part)])]]] for part in parts]
    labels = [f"{shortened(name)} ({len(part)})" for name, part in zip(central, parts, strict=True)]
    order = [place for part in parts for place in part]
    pictures = []
    layers = []
    for criterion, matrix in matrices.items():
        means = [[mean_of_known(matrix[np.ix_(rows, columns)]) for columns in parts] for rows in parts]
        chance = _by_chance(overlaps[criterion])
        pictures.append(overlap_heatmap(criterion, np.array(means, dtype=np.float64), labels, chance))
        layers.append(PairValues(CRITERION_WORDS[criterion], matrix[np.ix_(order, order)], chance))
    class_ids = [classes.ids[place] for place in order]
    drawn = pair_map(
        f"Share of top channels that each pair of {len(class_ids):,} classes has in common",
        class_ids,
        [classes.names[class_id] for class_id in class_ids],
        [Cluster(name, len(part)) for name, part in zip(central, parts, strict=True)],
        layers,
    )
    return DrawnOverlap(tuple(pictures), drawn)


def _by_chance(rows: pd.DataFrame) -> float:
    return float(rows.overlap_by_chance.iloc[0])


def _pairs(rows: pd.DataFrame, class_ids: Sequence[int]) -> Array:
    """Return the overlaps as a matrix; NaN on its diagonal and for classes without any."""
    ranked = np.isin(class_ids, np.union1d(rows.class_a, rows.class_b))
    matrix = np.where(np.outer(ranked, ranked), pairs_as_matrix(rows, class_ids), np.nan)
    np.fill_diagonal(matrix, np.nan)
    return matrix


def overlap_heatmap(criterion: str, matrix: Array, labels: Sequence[str], chance: float) -> Picture:
    """Draw the overlap of the top channels of classes or clusters (Fig. 5a); colour starts at chance.

    Args:
        criterion: what ranks the channels.
        matrix: overlaps ``[n, n]``; NaN if unknown.
        labels: names of the classes or clusters.
        chance: overlap expected by chance.
    """
    title = f"{CRITERION_WORDS[criterion].capitalize()} (%)"
    top = max(float(np.nanmax(matrix, initial=chance)), chance + 1e-9)
    shares = np.nan_to_num(np.clip((matrix - chance) / (top - chance), 0, 1))

    def paint(axes: Axes) -> None:
        ends = (-0.5, len(matrix) - 0.5)
        if len(matrix) <= MOST_NUMBERS:
            _numbered_cells(axes, matrix, shares)
        else:
            colours = np.broadcast_to(to_rgba(light("blue")), (*shares.shape, 4)).copy()
            colours[..., 3] = 0.75 * shares
            axes.imshow(colours, extent=(*ends, *ends[::-1]), interpolation="none")
        axes.set(title=title, xlim=ends, ylim=ends[::-1], aspect="equal")
        places = range(len(labels))
        size = 5.5 if len(labels) > MOST_LABELS else None
        axes.set_xticks(places, labels, rotation=55, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(places, labels, fontsize=size)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    alt = f"{title}: percentage of top channels that each pair of classes has in common; {chance:.0%} by chance"
    return draw(f"overlap-{criterion}", alt, (3.5, 3.5), paint)


def _numbered_cells(axes: Axes, matrix: Array, shares: Array) -> None:
    for row, column in zip(*np.nonzero(np.isfinite(matrix)), strict=True):
        corner = (column - 0.5, row - 0.5)
        alpha = 0.75 * float(shares[row, column])
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=light("blue"), alpha=alpha, edgecolor="none"))
        axes.text(column, row, f"{100 * matrix[row, column]:.0f}", ha="center", va="center", fontsize=7)


def factor_lines(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the overlap beyond chance by site of the pairs of classes that share each known factor, and of the others.

    Args:
        rows: entry ``overlap_by_factor`` of the summary.
    """
    by_awareness = [row for row in rows if row["criterion"] == BY_SITE and row["site"] != ALL_SITES]
    sites = sorted({row["site"] for row in by_awareness})
    sites_by_k: dict[int, set[int]] = {}
    for row in by_awareness:
        sites_by_k.setdefault(row["k"], set()).add(row["site"])
    k = max((k for k, covered in sites_by_k.items() if len(covered) == len(sites)), default=0)
    by_factor: dict[str, list[Mapping[str, Any]]] = {}
    for row in by_awareness:
        if row["k"] == k and row["overlap"] is not None:
            by_factor.setdefault(row["factor"], []).append(row)
    colours = dict(zip((factor for factor in by_factor if factor != NEITHER), FACTOR_COLOURS, strict=False))

    def paint(axes: Axes) -> None:
        for factor, group in by_factor.items():
            ordered = sorted(group, key=lambda row: row["site"])
            beyond = [row["overlap"] - row["by_chance"] for row in ordered]
            label = NEITHER if factor == NEITHER else f"same {factor}"
            colour = light(colours.get(factor, "muted"))
            x = [row["site"] for row in ordered]
            axes.plot(x, beyond, "o-", color=colour, markersize=4, linewidth=1.4, label=label)
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        ylabel = f"share of the top {k}, minus chance"
        axes.set(title="Overlap beyond chance", xlabel="site", ylabel=ylabel, xticks=legible(sites))
        legend_above(axes, 0.5, "upper right")

    groups = ", ".join(f"the same {factor}" for factor in colours)
    alt = f"Overlap of the top {k} channels beyond chance by site, for pairs of classes with {groups}, and neither"
    return draw("overlap-factors", alt, SIZE, paint)
