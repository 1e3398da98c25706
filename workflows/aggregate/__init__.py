"""Aggregation: from the stages' tables to the derived ones and ``summary.json``."""

from __future__ import annotations

import json

from cawa_core import __version__
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
    summary = summarise(manifest, audit, spec) | {"cawa": __version__, "tables_digest": manifest.digest(DERIVED)}
    manifest.storage.write(SUMMARY, json.dumps(summary, indent=1).encode())


def is_current(manifest: Manifest) -> bool:
    """Whether derived tables and summary are of the recorded tables, of what is quarantined, and of this version."""
    try:
        summary = json.loads(manifest.storage.read(SUMMARY))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return (
        summary.get("tables_digest") == manifest.digest(DERIVED)
        and summary.get("cawa") == __version__
        and summary.get("quarantined") == sorted(manifest.quarantined)
        and DERIVED in manifest.receipts
    )
