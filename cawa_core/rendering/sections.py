"""Building blocks of the sections of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cawa_core.rendering.claims import interval_words
from cawa_core.rendering.grids import data_uri, strip
from cawa_core.tables.schema import ALL_SITES, table_named

if TYPE_CHECKING:
    from cawa_core.rendering.figures import Picture
    from cawa_core.rendering.html_tables import HtmlTable
    from cawa_core.rendering.pair_map import PairMap
    from cawa_core.tables import Manifest

Tables = Mapping[str, pd.DataFrame]

SHOWN_CLASSES = 20
"""Most classes with images in the report; of more, evenly spaced ones are chosen."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """One strip of generated images: a data URI, its alternative text, and the note below it."""

    source: str
    alt: str
    note: str

    @classmethod
    def of_strip(cls, pngs: Sequence[bytes | None], alt: str, note: str) -> Photo:
        """Put PNG images side by side."""
        return cls(data_uri(strip(list(pngs))), alt, note)


@dataclasses.dataclass(frozen=True)
class PhotoRow:
    """Strips of one class, side by side."""

    label: str
    photos: tuple[Photo, ...]


@dataclasses.dataclass(frozen=True)
class Scatter:
    """Two values of the classes, by name, that the plot under "Classes" can show against each other.

    Attributes:
        x, y: names of values that class facts contain (:class:`~cawa_core.rendering.class_facts.ClassValue`).
        label: words for the link to the plot.
    """

    x: str
    y: str
    label: str


@dataclasses.dataclass(frozen=True)
class Section:
    """One section: a heading, an introduction in plain words, figures, photos and tables.

    Attributes:
        anchor: id of the section on the page: the name of its analysis, unless this has several sections.
        title: heading.
        lead: introduction.
        figures: figures; their names are unique on the page.
        tables: tables, after the photos.
        photo_headings: headings of the strips in each row.
        photo_rows: rows of strips.
        pair_map: map of a value of each pair of classes, for many classes.
        scatters: plots whose dots have names, below the figures.
    """

    anchor: str
    title: str
    lead: str
    figures: tuple[Picture, ...] = ()
    tables: tuple[HtmlTable, ...] = ()
    photo_headings: tuple[str, ...] = ()
    photo_rows: tuple[PhotoRow, ...] = ()
    pair_map: PairMap | None = None
    scatters: tuple[Scatter, ...] = ()


def class_names(summary: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the audit's classes by index."""
    return {int(class_id): name for class_id, name in summary["class_names"].items()}


def shown_classes(class_ids: Sequence[int]) -> list[int]:
    """Choose at most ``SHOWN_CLASSES`` classes, evenly spaced."""
    places = np.linspace(0, len(class_ids) - 1, min(SHOWN_CLASSES, len(class_ids)))
    return [class_ids[int(place)] for place in places.round()]


def rows_of_shown_classes(manifest: Manifest, name: str) -> pd.DataFrame:
    """Read a table's rows of the classes whose images the report shows, sorted by its key."""
    class_ids = manifest.class_ids(name)
    if not class_ids:
        return manifest.table(name)
    rows: pd.DataFrame = manifest.rows(name, class_ids=shown_classes(class_ids)).to_pandas()
    return rows.sort_values(list(table_named(name).key), ignore_index=True)


def site_words(site: int) -> str:
    """Return the number of a site, or ``all`` for all sites together."""
    return "all" if site == ALL_SITES else str(site)


def with_intervals_in_words(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Add ``<column>_in``, the interval ``<column>_ci`` in words, for some columns of a row."""
    spans = {f"{name}_in": interval_words(row[f"{name}_ci"], 3).removeprefix("95% interval ") for name in columns}
    return {**row, **spans}
