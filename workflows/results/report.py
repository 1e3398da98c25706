"""``report.html`` and ``figures/`` of an audit folder, from its tables and ``summary.json``."""

from __future__ import annotations

import json

from cawa_core.errors import InputError
from cawa_core.rendering.class_facts import ClassFacts
from cawa_core.rendering.report import build_report, summary_digest
from cawa_core.storage import Storage
from cawa_core.tables import Manifest
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses import ANALYSES
from workflows.folders.completeness import hide_partial_classes
from workflows.folders.folder import REPORT, SUMMARY, read_audit
from workflows.results.summary import joined


def report_shows(storage: Storage) -> bool:
    """Return whether the page in the folder was made from the summary in the folder."""
    try:
        page = storage.read(REPORT)
        summary = storage.read(SUMMARY)
    except FileNotFoundError:
        return False
    return summary_digest(json.loads(summary)).encode() in page[:2000]


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
    audit = read_audit(storage)
    hide_partial_classes(manifest, audit)
    results = {name: analysis.make_results() for name, analysis in ANALYSES.items()}
    tables = joined(((name, part.shown(manifest)) for name, part in results.items()), "the report's tables")
    sections = [section for part in results.values() for section in part.sections(tables, summary)]
    facts = ClassFacts.joined([part.class_facts(tables, summary) or ClassFacts() for part in results.values()])
    report = build_report(sections, facts, summary, audit, manifest.table(SITES_TABLE.name))
    for path, content in report.files.items():
        storage.write(f"figures/{path}", content)
    storage.write(REPORT, report.html.encode())
