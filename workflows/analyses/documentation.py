"""The page of the tables, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator

from cawa_core.tables.schema import SITES_TABLE, Table
from workflows.analyses import ANALYSES

INTRODUCTION = (
    "# Tables\n\nThe tables of an audit folder, each with its key columns first. Null means unknown or undefined, "
    "never zero. In the examples `folder` is the audit folder and `pd` is pandas.\n"
)


def tables_as_markdown() -> str:
    """Return the content of ``docs/tables.md``: the tables of every audit and of this project's analyses."""
    included = [analysis for name, analysis in ANALYSES.items() if name not in ANALYSES.installed]
    sections = [_section(table, analysis.name) for analysis in included for table in analysis.tables]
    return "".join([INTRODUCTION, _section(SITES_TABLE, "every audit"), *sections])


def _section(table: Table, writer: str) -> str:
    return "".join(_lines(table, writer))


def _lines(table: Table, writer: str) -> Iterator[str]:
    yield f"\n## {table.name}\n\nWritten by: {writer}. Key: {', '.join(table.key)}.\n\n"
    yield f'`pd.read_parquet(f"{{folder}}/tables/{table.name}")`, '
    yield f"`duckdb.sql(f\"from '{{folder}}/tables/{table.name}/*.parquet'\")`\n\n"
    yield "| column | type | meaning |\n|---|---|---|\n"
    for name, (kind, meaning) in table.columns.items():
        escaped = meaning.replace("|", chr(92) + "|")
        yield f"| {name} | {kind} | {escaped} |\n"
