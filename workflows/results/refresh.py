"""Update of everything derived from the stages' tables: derived tables, summary, report."""

from __future__ import annotations

from cawa_core.tables import Manifest
from workflows.results import aggregate, is_current
from workflows.results.report import report_shows, write_report


def refresh(manifest: Manifest) -> bool:
    """Aggregate and report if the tables, or what is in the folder, ask for it; return whether anything was written."""
    has_summary = is_current(manifest)
    if has_summary and report_shows(manifest):
        return False
    if not has_summary:
        aggregate(manifest)
    write_report(manifest)
    return True
