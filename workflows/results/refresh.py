"""Update of everything derived from the stages' tables: derived tables, summary, report."""

from __future__ import annotations

from cawa_core.tables import Manifest
from workflows.results import aggregate, is_current
from workflows.results.report import report_shows, write_report


def refresh(manifest: Manifest) -> bool:
    """Aggregate and report unless both are up to date; return whether anything was written."""
    if is_current(manifest) and report_shows(manifest.storage):
        return False
    aggregate(manifest)
    write_report(manifest)
    return True
