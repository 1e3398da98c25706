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
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from cawa_core.rendering.glyphs import (
    fonts_for,
    lacking,
    undrawable,
    without_glyph_warnings,
    write_as_code_points,
)
from cawa_core.rendering.palette import light, with_css_variables

Array = NDArray[np.float64]

SIZE = (3.5, 2.6)
"""Width and height of most figures in inches, close to their size on the page, so that text stays at 9 points."""
STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,
    "text.usetex": False,
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
}


MOST_LABELS = 14
"""Most tick labels below an axis."""
MOST_DOTS = 40
"""Most classes drawn as one dot each per site; more are summarised by their median and range."""
MOST_NUMBERS = 12
"""Most classes whose overlaps are written as numbers and whose dots are named."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure for the page and for the ``figures`` folder.

    Attributes:
        name: file name without its extension; unique in the report.
        alt: alternative text for readers who cannot see the figure.
        svg: the figure in light colours.
        png: the same figure as pixels.
        undrawable: characters that no installed font has: the pixels show their code points, and a browser draws the
            SVG with its own fonts.
    """

    name: str
    alt: str
    svg: str
    png: bytes
    undrawable: frozenset[str] = frozenset()

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
    """Draw a figure with one axes; ``paint`` receives the axes, ``size`` is in inches.

    Texts are never parsed as mathematics. Characters that the usual font lacks are drawn by other installed fonts.
    """
    with mpl.rc_context(STYLE), without_glyph_warnings():
        figure, svg = _painted(size, paint)
        if missing := lacking(svg):
            mpl.rcParams["font.family"] = [*STYLE["font.family"], *(entry.name for entry in fonts_for(missing))]
            figure, svg = _painted(size, paint)
        png = io.BytesIO()
        if boxes := undrawable(missing):
            write_as_code_points(figure, boxes)
            ConstrainedLayoutEngine().execute(figure)
        figure.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return Picture(name, alt, svg, png.getvalue(), boxes)


def _painted(size: tuple[float, float], paint: Any) -> tuple[Figure, str]:  # noqa: ANN401
    """Return a figure whose layout is final, and its SVG, which holds all of its texts as characters."""
    figure = Figure(figsize=size)
    paint(figure.add_subplot())
    # The layout is computed once here: a figure that has an engine draws everything again for each file.
    ConstrainedLayoutEngine().execute(figure)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return figure, svg.getvalue().decode()


def legend_above(axes: Axes, share: float, place: Literal["upper center", "upper right"], columns: int = 1) -> None:
    """Add a legend above the data, in extra room of a share of the current height."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, ncols=columns, columnspacing=1.0)


def legible(sites: Sequence[int]) -> list[int]:
    """Return the sites to number below an axis: all of a few, or evenly spaced ones of many."""
    return list(sites[:: max(1, -(-len(sites) // MOST_LABELS))])


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
        legend_above(axes, 0.2, "upper center", columns=2)

    return draw(name, f"{title}: {' and '.join(methods.values())}, with 95% intervals", SIZE, paint)
