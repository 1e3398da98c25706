"""Tables of the report: formatted cells that still sort by value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

MOST_ROWS = 1000
"""Rows of one table on the page; of more, an even choice."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is shown, and what is sorted by (empty: last)."""

    text: str
    value: str
    numeric: bool


@dataclasses.dataclass(frozen=True)
class HtmlTable:
    """A sortable table: its caption, its column headings and its rows."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds numbers only."""
        return all(row[column].numeric for row in self.rows)


def cell(value: Any, digits: int = 3) -> Cell:  # noqa: ANN401
    """Text as it is, whole numbers whole, others to some digits, a dash for the unknown."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Cell("–", "", numeric=True)
    if isinstance(value, str):
        return Cell(value, value, numeric=False)
    if float(value).is_integer() and abs(float(value)) < 1e9 and not isinstance(value, float):
        return Cell(str(int(value)), str(int(value)), numeric=True)
    return Cell(_rounded(float(value), digits), repr(float(value)), numeric=True)


def _rounded(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if value != 0 and float(text) == 0:
        text = f"{value:.1e}"
    return text.replace("-", "−")


def table_of(caption: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], digits: int = 3) -> HtmlTable:
    """A table of some columns (key => heading) of plain rows; of very many, an even choice, and the caption says so."""
    if len(rows) > MOST_ROWS:
        caption = f"{caption} (evenly chosen from {len(rows):,} rows)"
        rows = [rows[place * len(rows) // MOST_ROWS] for place in range(MOST_ROWS)]
    body = tuple(tuple(cell(row[key], digits) for key in columns) for row in rows)
    return HtmlTable(caption, tuple(columns.values()), body)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as plain dictionaries."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))
