"""Aggregation: the tables of the derived analyses, and ``summary.json``, from the tables of the others."""

from __future__ import annotations

from cawa_core import __version__
from cawa_core.digests import digest_of_bytes, digest_of_data
from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.documents import sealed
from cawa_core.tables.receipts import SUMMARY
from cawa_core.tables.schema import SITES_TABLE
from workflows.folders.completeness import hide_partial_classes, missing_classes
from workflows.folders.folder import read_audit
from workflows.options.audit import recorded_spec
from workflows.results.derive import derivable, derive, derived_stages
from workflows.results.summary import read_summary, summarise


def aggregate(manifest: Manifest) -> None:
    """Rewrite the derived tables and ``summary.json``, from the classes that are complete.

    Raises:
        InputError: nothing is finished yet, or the results cannot be read.
    """
    audit = read_audit(manifest.storage)
    require_results(manifest)
    hide_partial_classes(manifest, audit)
    spec = recorded_spec(audit.spec)
    derive(manifest, spec, audit.hash)
    manifest.settle()
    provenance = {
        "cawa": __version__,
        "tables_digest": manifest.digest(without=derived_stages(manifest)),
        "options_digest": _options_digest(audit),
    }
    summary = summarise(manifest, audit, spec) | provenance
    content = sealed(summary)
    manifest.storage.write(SUMMARY, content)
    manifest.record_written(manifest.written | {SUMMARY: digest_of_bytes(content)})


def require_results(manifest: Manifest) -> None:
    """Check that anything is recorded, so that a summary or a report is not replaced by one of nothing.

    Raises:
        InputError: nothing is finished.
    """
    if SITES_TABLE.name not in manifest.receipts:
        url = manifest.storage.url
        raise InputError(
            f"{url} has no finished results: its manifest.json has no table {SITES_TABLE.name}; run its audit, or "
            f"`cawa verify {url}` if it was finished before"
        )


def _options_digest(audit: AuditRecord) -> str:
    """Return the SHA-256 of the summary's inputs other than tables: classes, analyses, options of the report."""
    return digest_of_data([audit.hash, audit.spec])


def is_current(manifest: Manifest) -> bool:
    """Return whether derived tables and summary match the recorded tables, the quarantine and what is installed."""
    try:
        summary = read_summary(manifest.storage)
    except InputError:
        return False
    derived = derived_stages(manifest)
    audit = read_audit(manifest.storage)
    return bool(
        manifest.written.get(SUMMARY) == digest_of_bytes(manifest.storage.read(SUMMARY))
        and summary["tables_digest"] == manifest.digest(without=derived)
        and summary["options_digest"] == _options_digest(audit)
        and summary["cawa"] == __version__
        and summary["quarantined"] == sorted(manifest.quarantined)
        and summary.get("incomplete") == missing_classes(manifest, audit)
        and derived == {analysis.name for analysis in derivable(manifest)}
    )
