"""Update of everything derived from the stages' tables: derived tables, summary, report."""

from __future__ import annotations

from cawa_core.tables import Manifest
from workflows.results import aggregate, is_current
from workflows.results.report import report_shows, write_report


def refresh(manifest: Manifest, with_report: bool = True) -> bool:
    """Aggregate and report if the tables, or what is in the folder, ask for it.

    Args:
        manifest: manifest of the folder.
        with_report: whether to write the report, too; if not, one that is there stays as it is.

    Returns:
        Whether anything was written.
    """
    has_summary = is_current(manifest)
    has_report = not with_report or (has_summary and report_shows(manifest))
    if not has_summary:
        aggregate(manifest)
    if not has_report:
        write_report(manifest)
    return not (has_summary and has_report)
