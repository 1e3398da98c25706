"""Tables of the report, with formatted cells that still sort by value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

MOST_ROWS = 1000
"""Most rows of one table on the page; of more, evenly spaced ones are chosen."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """The text of a cell, and the value that it sorts by (empty sorts last)."""

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
        """Return whether a column contains only numbers."""
        return all(row[column].numeric for row in self.rows)


def cell(value: Any, digits: int = 3) -> Cell:  # noqa: ANN401
    """Format a value: text and whole numbers unchanged, fractions rounded to ``digits``, unknown values as a dash.

    A cell stays as it is.
    """
    if isinstance(value, Cell):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Cell("–", "", numeric=True)
    if isinstance(value, str):
        return Cell(value, value, numeric=False)
    if float(value).is_integer() and abs(float(value)) < 1e9 and not isinstance(value, float):
        return Cell(str(int(value)), str(int(value)), numeric=True)
    return Cell(_rounded(float(value), digits), repr(float(value)), numeric=True)


def number_with_interval(number: float | None, interval: Sequence[float] | None, digits: int) -> Cell:
    """Make the cell of a number with its interval, such as ``12 (9–14)``, that sorts by the number; a dash for None."""
    if number is None:
        return Cell("–", "", numeric=True)
    span = ""
    if interval is not None:
        between = " to " if interval[0] < 0 else "–"
        span = f" ({_rounded(interval[0], digits)}{between}{_rounded(interval[1], digits)})"
    return Cell(_rounded(number, digits) + span, repr(number), numeric=True)


def _rounded(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if digits and value != 0 and float(text) == 0:
        text = f"{value:.1e}"
    return text.replace("-", "−")


def table_of(caption: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], digits: int = 3) -> HtmlTable:
    """Make a table from some columns (key => heading); of too many rows, evenly spaced ones, which the caption says."""
    if len(rows) > MOST_ROWS:
        caption = f"{caption} (evenly spaced rows out of {len(rows):,})"
        rows = [rows[place * len(rows) // MOST_ROWS] for place in range(MOST_ROWS)]
    body = tuple(tuple(cell(row[key], digits) for key in columns) for row in rows)
    return HtmlTable(caption, tuple(columns.values()), body)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as plain dictionaries."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))
