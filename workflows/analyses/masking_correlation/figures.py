"""Figures of awareness against the effect of masking (paper, Fig. 4), and of all predictors of that effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cawa_core.rendering.figures import MOST_DOTS, SIZE, Array, Picture, draw, legend_above, legible
from cawa_core.rendering.palette import light
from workflows.analyses.masking_correlation.predictors import PREDICTOR_COLOURS, PREDICTOR_WORDS


def masking_curve(
    name: str, title: str, awareness: Array, change: Array, smoothed: Array, words: tuple[str, str], alt: str
) -> Picture:
    """Draw Fig. 4 for one class and site: awareness (blue) and score change (dots; smoothed: red) by channel rank.

    Args:
        name: name of the figure.
        title: title of the figure.
        awareness: category awareness of each channel or group, ascending ``[n]``.
        change: score change of each ``[n]``.
        smoothed: the score change, smoothed ``[n]``.
        words: what the dots stand for, in the plural, and what their height measures.
        alt: alternative text.
    """
    units, target = words

    def paint(axes: Axes) -> None:
        rank = np.arange(len(awareness))
        axes.plot(rank, change, ".", color=light("pink"), markersize=4, label=units)
        axes.plot(rank, smoothed, color=light("red"), linewidth=1.8, label="smoothed")
        axes.set(title=title, xlabel=f"{units} in order of awareness", ylabel=target)
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        twin = axes.twinx()
        twin.plot(rank, awareness, color=light("blue"), linewidth=1.5, label="awareness")
        twin.set_ylabel("awareness", color=light("blue"))
        twin.spines["right"].set_visible(True)
        handles = [*axes.get_legend_handles_labels()[0], *twin.get_legend_handles_labels()[0]]
        axes.legend(handles=handles, loc="upper left", handlelength=1.2)

    return draw(name, alt, SIZE, paint)


def predictor_lines(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the rank correlation of every predictor with one effect by site, with 95% intervals over classes."""
    by_predictor: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_predictor.setdefault(row["predictor"], []).append(row)

    def paint(axes: Axes) -> None:
        for offset, (predictor, group) in enumerate(by_predictor.items()):
            known = sorted((row for row in group if row["spearman"] is not None), key=lambda row: row["site"])
            if not known:
                continue
            x = np.array([row["site"] for row in known]) + 0.06 * (offset - len(by_predictor) / 2)
            y = np.array([row["spearman"] for row in known])
            ends = np.array([row["spearman_ci"] or [row["spearman"]] * 2 for row in known])
            colour = light(PREDICTOR_COLOURS[predictor])
            axes.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=1.2)
            axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1.4, label=PREDICTOR_WORDS[predictor])
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        axes.set(
            title=title, xlabel="site", ylabel="rank correlation", xticks=legible(sorted({row["site"] for row in rows}))
        )
        legend_above(axes, 0.42, "upper right")

    return draw(name, f"{title}: rank correlation by site for each predictor", (3.5, 3.1), paint)


def null_band(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the smoothed r of every class and site (rows of ``masking_correlation``) with its permutation null."""
    by_site: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_site.setdefault(int(row["site"]), []).append(row)
    sites = sorted(by_site)
    crowded = len(rows) > MOST_DOTS * len(sites)
    dots = "dot and line: median and 95% of the classes" if crowded else "one dot per class"

    def paint(axes: Axes) -> None:
        for site, pairs in sorted(by_site.items()):
            spread = 1.96 * _mean(pairs, "null_std")
            centre = _mean(pairs, "null_mean")
            axes.add_patch(
                Rectangle((site - 0.38, centre - spread), 0.76, 2 * spread, facecolor=light("band"), edgecolor="none")
            )
            values = np.array([row["pearson_smoothed"] for row in pairs], dtype=np.float64)
            if crowded:
                axes.vlines(site, *np.nanquantile(values, [0.025, 0.975]), color=light("blue"), linewidth=1.2)
                axes.plot(site, np.nanmedian(values), ".", color=light("blue"), markersize=6)
            else:
                axes.plot(site + np.linspace(-0.28, 0.28, len(pairs)), values, ".", color=light("blue"), markersize=6)
        axes.axhline(0, color=light("rule"), linewidth=0.8)
        axes.set(title=title, xlabel=f"site; {dots}", ylabel="smoothed r", xticks=legible(sites), ylim=(-1.02, 1.02))

    alt = f"{title}: smoothed correlation of each class by site; grey band: 95% of random permutations"
    return draw(name, alt, SIZE, paint)


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    """Return the mean of the finite values of a column, or 0 if there are none."""
    values = np.array([row[column] for row in rows], dtype=np.float64)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else 0.0
