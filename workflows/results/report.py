"""``report.html`` and ``figures/`` of an audit folder, from its tables and ``summary.json``."""

from __future__ import annotations

import json
import sys

from cawa_core.errors import InputError
from cawa_core.rendering.report import build_report, summary_digest
from cawa_core.storage import Storage
from cawa_core.tables import Manifest
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses import ANALYSES
from workflows.folders.folder import REPORT, SUMMARY, read_audit
from workflows.results.summary import joined

MOST_NAMED = 12
"""Most characters that a message names."""


def report_shows(storage: Storage) -> bool:
    """Return whether the page in the folder was made from the summary in the folder."""
    try:
        page = storage.read(REPORT)
        summary = storage.read(SUMMARY)
    except FileNotFoundError:
        return False
    return summary_digest(json.loads(summary)).encode() in page[:2000]


def warnings_of(storage: Storage) -> list[str]:
    """Return the warnings in the summary of a folder."""
    warnings: list[str] = json.loads(storage.read(SUMMARY)).get("warnings", [])
    return warnings


def write_report(manifest: Manifest) -> None:
    """Rewrite the page and its figures: the sections of all analyses, in their order.

    Raises:
        InputError: the folder has no summary yet.
    """
    storage = manifest.storage
    try:
        summary = json.loads(storage.read(SUMMARY))
    except FileNotFoundError:
        raise InputError(f"{storage.url} has no {SUMMARY} yet; run `cawa aggregate {storage.url}` first") from None
    results = {name: analysis.make_results() for name, analysis in ANALYSES.items()}
    tables = joined(((name, part.shown(manifest)) for name, part in results.items()), "the report's tables")
    sections = [section for part in results.values() for section in part.sections(tables, summary)]
    report = build_report(sections, summary, read_audit(storage), manifest.table(SITES_TABLE.name))
    for picture in report.pictures:
        storage.write(f"figures/{picture.name}.svg", picture.svg.encode())
        storage.write(f"figures/{picture.name}.png", picture.png)
    storage.write(REPORT, report.html.encode())
    undrawable = frozenset[str]().union(*(picture.undrawable for picture in report.pictures))
    if undrawable:
        print(
            f"figures: no installed font has {' '.join(sorted(undrawable)[:MOST_NAMED])}; figures/*.png show code "
            "points instead, the page and figures/*.svg the characters themselves",
            file=sys.stderr,
        )
