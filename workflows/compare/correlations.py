"""Sections about correlations, which the page and the Markdown summary show together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cawa_core.rendering.html_tables import HtmlTable
from cawa_core.rendering.sections import Section
from workflows.compare.tables import Rows, markdown_table


def correlation_section(table: HtmlTable) -> list[Section]:
    """Put a table into the section that all correlations share."""
    lead = "Correlations of the two audits side by side; they do not enter the verdict."
    return [Section("correlations", "Correlations", lead, tables=(table,))]


def correlations_moved(caption: str, rows: Rows, columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a table of the correlations that moved, under the heading that all correlations share."""
    yield "Correlations that moved", f"{caption}\n"
    yield "Correlations that moved", markdown_table(rows, columns)
