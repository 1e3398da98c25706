"""Fonts for names in any script: drawn by an installed font that has them, else as code points, never as boxes."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

REGULAR, BOLD = (str(Path(mpl.get_data_path()) / "fonts/ttf" / f"DejaVuSans{kind}.ttf") for kind in ("", "-Bold"))
"""Files of the font that everything is drawn in if it can be; it comes with matplotlib."""
LAYOUT_CHARACTERS = "\n\t "
LONGEST_NAME = 24
"""Characters of a class name that a figure shows."""


def shortened(name: str) -> str:
    """Return a name as figures show it, cut if it is long."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


@cache
def characters_of(file: str) -> frozenset[str]:
    """Return the characters that a font file has outlines for; none if it cannot be read or has only bitmaps."""
    try:
        font = FT2Font(file)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


def lacking(text: str, file: str = REGULAR) -> frozenset[str]:
    """Return the characters of a text that a font lacks."""
    return frozenset(text) - characters_of(file) - frozenset(LAYOUT_CHARACTERS)


@cache
def fonts_for(characters: frozenset[str]) -> tuple[font_manager.FontEntry, ...]:
    """Choose installed fonts that together have as many of some characters as possible, the best first."""
    candidates = [entry for entry in font_manager.fontManager.ttflist if "Last Resort" not in entry.name]
    chosen = []
    rest = set(characters)
    while rest and candidates:
        best = max(candidates, key=lambda entry: len(rest & characters_of(entry.fname)))
        if not rest & characters_of(best.fname):
            break
        chosen.append(best)
        rest -= characters_of(best.fname)
    return tuple(chosen)


def undrawable(characters: frozenset[str]) -> frozenset[str]:
    """Return the characters that no installed font has."""
    return characters.difference(*(characters_of(entry.fname) for entry in fonts_for(characters)))


def as_code_points(text: str, characters: Collection[str]) -> str:
    """Write some characters of a text as ``\\uXXXX``."""
    return "".join(
        character.encode("unicode_escape").decode("ascii") if character in characters else character
        for character in text
    )


def font_file_for(text: str, bold: bool = False) -> str:
    """Return the file of the font that lacks the fewest characters of a text: DejaVu Sans if it lacks none."""
    default = BOLD if bold else REGULAR
    files = (default, *(entry.fname for entry in fonts_for(lacking(text, default))))
    return min(files, key=lambda file: len(lacking(text, file)))


def write_as_code_points(figure: Figure, characters: Collection[str]) -> None:
    """Replace some characters in all texts of a figure, including tick labels."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(as_code_points(text.get_text(), characters))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        places = list(axis.get_majorticklocs())
        labels = axis.get_major_formatter().format_ticks(places)
        by_place = {place: as_code_points(label, characters) for place, label in zip(places, labels, strict=True)}
        if list(by_place.values()) != labels:
            axis.set_major_formatter(FuncFormatter(lambda place, _, by_place=by_place: by_place.get(place, "")))


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Silence matplotlib's warnings about characters that a browser draws with its own fonts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield
