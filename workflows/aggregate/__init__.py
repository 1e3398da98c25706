"""Aggregation: from the stages' tables to the derived ones and ``summary.json``."""

from __future__ import annotations

import json
from pathlib import Path

from cawa_core import __version__
from cawa_core.specs import AuditSpec, validated
from cawa_core.tables import Manifest, write_atomically
from workflows.aggregate.derived_tables import DERIVED, publish_derived_tables
from workflows.aggregate.summary import summarise
from workflows.folder import read_audit


def aggregate(folder: Path, manifest: Manifest) -> None:
    """Write the derived tables and ``summary.json`` anew."""
    audit = read_audit(folder)
    spec: AuditSpec = validated(AuditSpec, audit["identity"]["spec"])
    publish_derived_tables(manifest, spec, audit["hash"])
    manifest.settle()
    summary = summarise(manifest, audit, spec) | {"cawa": __version__, "tables_digest": manifest.digest(DERIVED)}
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1).encode())


def is_current(folder: Path, manifest: Manifest) -> bool:
    """Whether derived tables and summary are of the recorded tables, of what is quarantined, and of this version."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return (
        summary.get("tables_digest") == manifest.digest(DERIVED)
        and summary.get("cawa") == __version__
        and summary.get("quarantined") == sorted(manifest.quarantined)
        and DERIVED in manifest.receipts
    )
