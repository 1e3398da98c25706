"""``report.html`` and ``figures/`` of an audit folder, from its tables and ``summary.json``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.rendering.class_facts import ClassFacts
from cawa_core.rendering.report import build_report, summary_digest
from cawa_core.storage import Storage
from cawa_core.tables import Manifest
from cawa_core.tables.receipts import FIGURES_FOLDER, REPORT, SUMMARY
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses import ANALYSES
from workflows.folders.completeness import hide_partial_classes
from workflows.folders.folder import read_audit
from workflows.results import require_results
from workflows.results.summary import joined, read_summary

MOST_NAMED = 12
"""Most characters that a message names."""


def report_shows(manifest: Manifest) -> bool:
    """Return whether the page and its figures are as written, and were made from the summary in the folder."""
    if REPORT not in manifest.written or any(unlike_written(manifest)):
        return False
    try:
        digest = summary_digest(read_summary(manifest.storage))
    except InputError:
        return False
    return digest.encode() in manifest.storage.read(REPORT)[:2000]


def unlike_written(manifest: Manifest) -> Iterator[tuple[str, bool]]:
    """Yield the page and figures that are not as recorded: the name, and whether the file exists.

    Raises:
        StorageError: a file cannot be read.
    """
    pages = {name: sha256 for name, sha256 in manifest.written.items() if name != SUMMARY}
    manifest.storage.bring_near(pages.items())
    for name, sha256 in pages.items():
        try:
            content = manifest.storage.read_recorded(name, sha256)
        except FileNotFoundError:
            yield name, False
            continue
        if digest_of_bytes(content) != sha256:
            yield name, True


def warnings_of(storage: Storage) -> list[str]:
    """Return the warnings in the summary of a folder."""
    warnings: list[str] = read_summary(storage).get("warnings", [])
    return warnings


def write_report(manifest: Manifest) -> None:
    """Rewrite the page and its figures: the sections of all analyses, in their order.

    Their digests are recorded last. If the process ends before that, the report counts as damaged until it is written
    again, by the next audit or ``cawa report``.

    Raises:
        InputError: the folder has no summary yet, or no results.
    """
    storage = manifest.storage
    audit = read_audit(storage)
    require_results(manifest)
    hide_partial_classes(manifest, audit)
    summary = read_summary(storage)
    results = {name: analysis.make_results() for name, analysis in ANALYSES.items()}
    tables = joined(((name, part.shown(manifest)) for name, part in results.items()), "the report's tables")
    sections = [section for part in results.values() for section in part.sections(tables, summary)]
    facts = ClassFacts.joined([part.class_facts(tables, summary) or ClassFacts() for part in results.values()])
    report = build_report(sections, facts, summary, audit, manifest.table(SITES_TABLE.name))
    files = {f"{FIGURES_FOLDER}/{path}": content for path, content in report.files.items()}
    files[REPORT] = report.html.encode()
    for name, content in files.items():
        storage.write(name, content)
    summaries = {name: sha256 for name, sha256 in manifest.written.items() if name == SUMMARY}
    obsolete = manifest.written.keys() - files.keys() - summaries.keys()
    manifest.record_written(summaries | {name: digest_of_bytes(content) for name, content in files.items()})
    for name in sorted(obsolete):
        storage.remove(name)
    if report.undrawable:
        print(
            f"figures: no installed font has {' '.join(sorted(report.undrawable)[:MOST_NAMED])}; figures/*.png show "
            "code points instead, the page and figures/*.svg the characters themselves",
            file=sys.stderr,
        )
