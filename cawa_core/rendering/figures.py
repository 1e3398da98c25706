"""Figures of the report: small, one message each, legible at 320 pixels and in both themes."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cawa_core.rendering.palette import light, with_css_variables

Array = NDArray[np.float64]

PREDICTOR_COLOURS = {
    "category_awareness": "blue",
    "category_awareness_sampled": "violet",
    "activation_probability": "amber",
    "expected_activation": "red",
    "screening": "green",
}
SIZE = (3.5, 2.6)
"""Width and height of most figures in inches, close to their size on the page, so that text stays at 9 points."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": light("muted"),
    "axes.labelcolor": light("muted"),
    "axes.titlecolor": light("ink"),
    "text.color": light("ink"),
    "xtick.color": light("muted"),
    "ytick.color": light("muted"),
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "cawa",
    "figure.constrained_layout.use": True,
}


MOST_LABELS = 14
"""Most tick labels below an axis."""
MOST_DOTS = 40
"""Most classes drawn as one dot each per site; more are summarised by their median and range."""
MOST_NUMBERS = 12
"""Most classes whose overlaps are written as numbers and whose dots are named."""
MOST_NAMED = 40
"""Most classes that are named beside an overlap map; for more, it shows colours only."""
MOST_CELLS = 500
"""Most classes with one cell each in an overlap map; for more, neighbours are averaged."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure for the page and for the ``figures`` folder.

    Attributes:
        name: file name without its extension; unique in the report.
        alt: alternative text for readers who cannot see the figure.
        svg: the figure in light colours.
        png: the same figure as pixels.
    """

    name: str
    alt: str
    svg: str
    png: bytes

    @property
    def inline_svg(self) -> str:
        """The figure for a page: themed, with unique ids and a description, scaling with its container."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        body = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{self.name}-", body)
        body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
        body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
        body = re.sub(r"(font: [\d.]+px|font-family:) [^;\"]*", r"\1 system-ui, sans-serif", body)
        label = self.alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        return with_css_variables(body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def draw(name: str, alt: str, size: tuple[float, float], paint: Any) -> Picture:  # noqa: ANN401
    """Draw a figure with one axes; ``paint`` receives the axes, ``size`` is in inches."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size)
        paint(figure.add_subplot())
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        figure.set_layout_engine("none")  # reuse the layout of the SVG: computing it takes most of the time
        figure.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return Picture(name, alt, svg.getvalue().decode(), png.getvalue())


def _legend_above(axes: Axes, share: float, place: Literal["upper center", "upper right"], columns: int = 1) -> None:
    """Add a legend above the data, in extra room of a share of the current height."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, ncols=columns, columnspacing=1.0)


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


def legible(sites: Sequence[int]) -> list[int]:
    """Return the sites to number below an axis: all of a few, or evenly spaced ones of many."""
    return list(sites[:: max(1, -(-len(sites) // MOST_LABELS))])


def predictor_lines(name: str, title: str, rows: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> Picture:
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
            axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1.4, label=words[predictor])
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        axes.set(
            title=title, xlabel="site", ylabel="rank correlation", xticks=legible(sorted({row["site"] for row in rows}))
        )
        _legend_above(axes, 0.42, "upper right")

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


def metric_scatter(name: str, metric: str, awareness: Array, values: Array, labels: Sequence[str], r: str) -> Picture:
    """Draw one metric against total awareness, one dot per class (Fig. 10)."""

    def paint(axes: Axes) -> None:
        few = len(labels) <= MOST_DOTS
        axes.plot(awareness, values, "o" if few else ".", color=light("blue"), markersize=5 if few else 2)
        if len(labels) <= MOST_NUMBERS:
            for place, row in enumerate(np.argsort(awareness)):
                dot = (awareness[row], values[row])
                shift = (3, 3 if place % 2 else -9)
                axes.annotate(labels[row], dot, shift, textcoords="offset points", fontsize=7, color=light("muted"))
        axes.margins(x=0.16, y=0.12)
        axes.set(title=f"{metric}: r = {r}", xlabel="total awareness", ylabel=metric)

    return draw(name, f"{metric} of each class against its total awareness; r = {r}", SIZE, paint)


def control_bars(name: str, title: str, rows: Sequence[Mapping[str, Any]], effect: str) -> Picture:
    """Draw Fig. 3 in numbers: lowest, random and highest masks at every site and, last, at all sites at once."""
    sites = [*sorted({row["site"] for row in rows if row["site"] >= 0}), -1]
    colours = {"lowest": "muted", "random": "amber", "highest": "red"}
    by_key = {(row["site"], row["control"]): row for row in rows}

    def paint(axes: Axes) -> None:
        for shift, (control, colour) in enumerate(colours.items()):
            known = [place for place, site in enumerate(sites) if (site, control) in by_key]
            selected = [by_key[sites[place], control] for place in known]
            x = np.array(known) + 0.27 * (shift - 1)
            axes.bar(x, [row[effect] for row in selected], 0.24, color=light(colour), label=control)
            ends = np.array([row[f"{effect}_ci"] or [row[effect]] * 2 for row in selected])
            axes.vlines(x, ends.reshape(-1, 2)[:, 0], ends.reshape(-1, 2)[:, 1], color=light("ink"), linewidth=0.9)
        axes.axhline(0, color=light("rule"), linewidth=0.8)
        numbered = set(legible(sites))
        labels = ["all" if site == -1 else str(site) if site in numbered else "" for site in sites]
        axes.set_xticks(range(len(sites)), labels)
        axes.set(title=title, xlabel="masked site", ylabel="class probability")
        _legend_above(axes, 0.15, "upper center", columns=3)

    return draw(name, f"{title} when the lowest, random or highest channels are masked, by site", SIZE, paint)


def compared_bars(
    name: str, title: str, rows: Sequence[Mapping[str, Any]], by: str, methods: Mapping[str, str], ylabel: str
) -> Picture:
    """Draw the means of two methods side by side with their 95% intervals, one group of bars per row.

    Args:
        name: name of the figure.
        title: title of the figure.
        rows: rows with a column per method, and its interval in ``<method>_ci``.
        by: column that labels a row.
        methods: column => label; the second is the paper's method.
        ylabel: label of the vertical axis.
    """
    colours = dict(zip(methods, ("muted", "blue"), strict=True))

    def paint(axes: Axes) -> None:
        for shift, (method, label) in enumerate(methods.items()):
            x = np.arange(len(rows)) + 0.36 * (shift - 0.5)
            axes.bar(x, [row[method] for row in rows], 0.32, color=light(colours[method]), label=label)
            ends = np.array([row[f"{method}_ci"] or [row[method]] * 2 for row in rows]).reshape(-1, 2)
            axes.vlines(x, ends[:, 0], ends[:, 1], color=light("ink"), linewidth=0.9)
        axes.set_xticks(range(len(rows)), [str(row[by]) for row in rows])
        axes.set(title=title, ylabel=ylabel)
        _legend_above(axes, 0.2, "upper center", columns=2)

    return draw(name, f"{title}: {' and '.join(methods.values())}, with 95% intervals", SIZE, paint)


def shared_lines(name: str, title: str, rows: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> Picture:
    """Draw the number of channels that all classes share by size of the top set, summed over sites (Appendix C)."""
    colours = dict(zip(words, ("blue", "muted", "red", "amber", "green"), strict=True))

    def paint(axes: Axes) -> None:
        for criterion, label in words.items():
            selected = sorted((row for row in rows if row["criterion"] == criterion), key=lambda row: row["k"])
            if selected:
                x = [row["k"] for row in selected]
                y = [row["shared"] for row in selected]
                axes.plot(x, y, "o-", color=light(colours[criterion]), markersize=4, linewidth=1.4, label=label)
        axes.set(title=title, xlabel="k, size of each class's top set per site", ylabel="channels shared by all")
        axes.legend(loc="upper left")

    return draw(name, f"{title}: number of shared channels by k, for each criterion", SIZE, paint)
