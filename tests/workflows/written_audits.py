"""Audit folders that are written without an audit, with small tables."""

import dataclasses
import json

from cawa_core.storage import open_storage
from cawa_core.tables import Manifest, Receipt, publish
from cawa_core.tables.audit_record import AnalysisRecord, AuditRecord, RecordedIdentity
from cawa_core.tables.documents import sealed
from cawa_core.tables.schema import SITES_TABLE
from workflows.folders.folder import read_audit, write_audit
from workflows.options.audit import audit_spec

SITES = {"site": [0], "name": ["a"], "channels": [4], "resolution": [7], "inert_channels": [[]]}


def written_audit(folder, tables, **options):
    """Write an audit folder.

    Args:
        folder: folder to write.
        tables: rows of the main table of each analysis, as columns by name; each has every class.
        options: options of the audit.
    """
    class_ids = sorted({int(class_id) for columns in tables.values() for class_id in columns["class_id"]})
    spec = audit_spec(**options).as_data() | {"classes": class_ids, "stages": list(tables)}
    identity = RecordedIdentity(spec, {"generator": "weights"}, {}, 1)
    analyses = {name: AnalysisRecord("hash", {}, tuple(class_ids), n_units=len(class_ids)) for name in tables}
    names = {class_id: f"class {class_id}" for class_id in class_ids}
    storage = open_storage(str(folder))
    write_audit(storage, AuditRecord("audit", identity, names, {}, "cpu", analyses))
    manifest = Manifest(storage)
    files = publish(storage, "all", {SITES_TABLE.name: SITES}, "audit")
    manifest.add(Receipt("sites", "sites", (), (), tuple(files), 0.0, "cpu"))
    for name, columns in tables.items():
        files = publish(storage, "all", {name: columns}, "audit")
        manifest.add(Receipt(name, name, tuple(class_ids), (), tuple(files), 0.0, "cpu"))
    manifest.write()
    return folder


def columns_of(table, rows):
    """Return rows as columns of a table; those that a row lacks are null."""
    return {name: [row.get(name) for row in rows] for name in table.columns}


def with_analysis(folder, name):
    """Record an analysis of a package that is not installed in a written audit."""
    record = read_audit(str(folder))
    analyses = record.analyses | {name: AnalysisRecord("hash", {"pitch": 440}, tuple(record.class_ids))}
    write_audit(open_storage(str(folder)), dataclasses.replace(record, analyses=analyses))


def rewrite(path, change):
    """Change a JSON document of a folder as cawa would, with the seal of what it then holds."""
    content = json.loads(path.read_text())
    content.pop("digest", None)
    change(content)
    path.write_bytes(sealed(content))
