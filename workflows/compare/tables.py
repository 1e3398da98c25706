"""Tables of changes, for the page and for the Markdown summary."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from cawa_core.rendering.html_tables import MOST_ROWS, HtmlTable, table_of

Rows = Sequence[Mapping[str, Any]]


def number(value: float | None) -> str:
    """Format a number with three digits; a dash if it is unknown."""
    return "–" if value is None else f"{value:.3g}"


def table_of_first(caption: str, columns: Mapping[str, str], rows: Rows) -> HtmlTable:
    """Build a table of the first ``MOST_ROWS`` rows of a sorted list; columns are key => heading."""
    more = f" (the first {MOST_ROWS} of {len(rows):,})" if len(rows) > MOST_ROWS else ""
    return table_of(caption + more, columns, rows[:MOST_ROWS])


def markdown_table(rows: Rows, columns: Sequence[str], most: int = 50) -> str:
    """Return a Markdown table of the first rows of a sorted list."""
    if not rows:
        return "None.\n"
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in columns)} |" for row in rows[:most]]
    if len(rows) > most:
        lines.append(f"\n{len(rows) - most} more rows are in `compare.json`.")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return html.escape(value, quote=False).replace("|", "\\|").replace("$", "\\$").replace("`", "\\`")
    return str(value) if isinstance(value, int) else number(value)
