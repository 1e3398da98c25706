"""Check of what a folder holds besides tables: ``audit.json``, the summary, the report and its figures."""

from __future__ import annotations

from collections.abc import Iterator

from cawa_core.digests import digest_of_bytes, digest_of_data
from cawa_core.errors import InputError, bounded
from cawa_core.storage import Storage
from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.documents import CHANGED
from cawa_core.tables.receipts import FIGURES_FOLDER, REPORT, SUMMARY
from workflows.folders.faults import Fault
from workflows.folders.folder import AUDIT
from workflows.options.lab import SUBJECT
from workflows.results import is_current
from workflows.results.report import report_shows, unlike_written
from workflows.results.summary import read_summary


def audit_faults(audit: AuditRecord) -> Iterator[Fault]:
    """Check that the name of an audit is the hash of the subject that it records."""
    recorded = audit.identity
    if not recorded.spec.keys() >= set(SUBJECT):
        return  # of a version with fewer options, which this one cannot name
    subject = {name: recorded.spec[name] for name in SUBJECT}
    subject |= {"schema_version": recorded.schema_version, "digest": recorded.digests["generator"]}
    if digest_of_data(subject) != audit.hash:
        yield Fault("damaged", AUDIT, f"its subject has the hash {digest_of_data(subject)[:12]}, not {audit.hash[:12]}")


def written_faults(manifest: Manifest, audit: AuditRecord) -> Iterator[Fault]:
    """Check that summary, report and figures are as written, and up to date with the tables."""
    storage = manifest.storage
    fix = f"run `cawa aggregate {storage.url}`, then `cawa report {storage.url}`"
    faults = [*_summary_faults(manifest, audit)]
    if not _is_interim(storage):
        faults += _report_faults(manifest)
    yield from faults
    has_report = REPORT in manifest.written or storage.exists(REPORT)
    is_fresh = is_current(manifest) and (report_shows(manifest) or not has_report)
    if all(fault.kind == "orphan" for fault in faults) and not is_fresh:
        yield Fault("stale", "summary and report", f"not up to date with the tables; {fix}")


def _summary_faults(manifest: Manifest, audit: AuditRecord) -> Iterator[Fault]:
    storage = manifest.storage
    if not storage.exists(SUMMARY):
        return
    try:
        summary = read_summary(storage)
    except InputError as error:
        yield Fault("damaged", SUMMARY, str(error))
        return
    if summary["audit"] != audit.hash:
        yield Fault("foreign", SUMMARY, f"it is of audit {bounded(summary['audit'])}, not {audit.hash[:12]}")
    recorded = manifest.written.get(SUMMARY)
    if recorded and not summary.get("incomplete") and digest_of_bytes(storage.read(SUMMARY)) != recorded:
        yield Fault("damaged", SUMMARY, f"{CHANGED}; run `cawa aggregate {storage.url}`, which writes it again")


def _is_interim(storage: Storage) -> bool:
    """Return whether summary and report are of an unfinished audit, whose driver alone records files."""
    try:
        return bool(read_summary(storage).get("incomplete"))
    except InputError:
        return False


def _report_faults(manifest: Manifest) -> Iterator[Fault]:
    storage = manifest.storage
    fix = f"run `cawa report {storage.url}`, which writes it again"
    is_whole = REPORT in manifest.written  # else it was never finished, and its figures are of no other
    try:
        for name, exists in unlike_written(manifest):
            is_whole = False
            kind, what = ("damaged", CHANGED) if exists else ("missing", "the report has it")
            yield Fault(kind, name, f"{what}; {fix}")
    except InputError as error:
        is_whole = False
        yield Fault("damaged", "report and figures", str(error))
    figures = sorted(name for name in manifest.names if name.startswith(f"{FIGURES_FOLDER}/"))
    for name in figures if is_whole else ():
        if name not in manifest.written and not name.rpartition("/")[2].startswith("."):
            yield Fault("orphan", name, "the report was not written with it; remove it if nobody needs it")
