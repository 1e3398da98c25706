"""Aggregation: from the stages' tables to the derived ones and ``summary.json``."""

from __future__ import annotations

import json

from cawa_core import __version__
from cawa_core.audit_record import AuditRecord
from cawa_core.digests import digest_of_data
from cawa_core.specs import AuditSpec, validated
from cawa_core.tables import Manifest
from workflows.aggregate.derived_tables import DERIVED, publish_derived_tables
from workflows.aggregate.summary import summarise
from workflows.folder import SUMMARY, read_audit


def aggregate(manifest: Manifest) -> None:
    """Write the derived tables and ``summary.json`` anew."""
    audit = read_audit(manifest.storage)
    spec: AuditSpec = validated(AuditSpec, audit.spec)
    publish_derived_tables(manifest, spec, audit.hash)
    manifest.settle()
    made_of = {"cawa": __version__, "tables_digest": manifest.digest(DERIVED), "options_digest": _options(audit)}
    summary = summarise(manifest, audit, spec) | made_of
    manifest.storage.write(SUMMARY, json.dumps(summary, indent=1).encode())


def _options(audit: AuditRecord) -> str:
    """SHA-256 of what enters beside the tables: classes, analyses, options of the report."""
    return digest_of_data([audit.hash, audit.spec])


def is_current(manifest: Manifest) -> bool:
    """Whether derived tables and summary are of the recorded tables, of what is quarantined, and of this version."""
    try:
        summary = json.loads(manifest.storage.read(SUMMARY))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return (
        summary.get("tables_digest") == manifest.digest(DERIVED)
        and summary.get("options_digest") == _options(read_audit(manifest.storage))
        and summary.get("cawa") == __version__
        and summary.get("quarantined") == sorted(manifest.quarantined)
        and DERIVED in manifest.receipts
    )
