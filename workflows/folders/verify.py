"""Check that an audit folder holds exactly what its manifest records."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from cawa_core.errors import last_line
from cawa_core.storage import Folder
from cawa_core.tables import Manifest, PublishedFile, Receipt
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.parquet import (
    MissingTableFileError,
    TableFileError,
    audit_of,
    open_verified,
    read_verified,
    shard_of_file,
)
from cawa_core.tables.schema import SITES_TABLE, TABLES
from workflows.folders.folder import opened_audit, read_audit
from workflows.results import is_current
from workflows.results.report import report_shows

READERS = 8
"""Shards whose files are read at the same time."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault in an audit folder.

    Attributes:
        kind: ``missing``, ``damaged``, ``foreign``, ``duplicate``, ``orphan``, ``mixed``, ``incomplete``,
            ``unknown``, ``quarantined`` or ``stale``.
        subject: name of the file, shard, table or stage.
        explanation: description of the fault.
    """

    kind: str
    subject: str
    explanation: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.explanation}"


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of a verification.

    Attributes:
        files, rows: number of recorded files and rows that were read.
        faults: all faults; empty for an intact audit.
    """

    files: int
    rows: int
    faults: tuple[Fault, ...]


def verify(folder: Folder) -> Verification:
    """Read every recorded file of an audit and look for unrecorded ones.

    Raises:
        InputError: the folder holds no audit, or its manifest cannot be read.
    """
    storage = opened_audit(folder)
    audit = read_audit(storage)
    manifest = Manifest.read(storage)
    unrecorded = list(_unrecorded_files(manifest))  # before minutes of reading, in which an audit may publish more
    faults = _table_faults(manifest, audit)
    faults += unrecorded
    faults += _duplicate_coverage(manifest)
    faults += _incomplete_stages(manifest, audit)
    faults += [Fault("quarantined", shard, last_line(error)) for shard, error in manifest.quarantined.items()]
    if not (is_current(manifest) and report_shows(storage)):
        fix = f"run `cawa aggregate {storage.url}`, then `cawa report {storage.url}`"
        faults.append(Fault("stale", "summary and report", f"not up to date with the tables; {fix}"))
    files = [file for receipt in manifest.receipts.values() for file in receipt.files]
    return Verification(len(files), sum(file.rows for file in files), tuple(faults))


def _table_faults(manifest: Manifest, audit: AuditRecord) -> list[Fault]:
    """Check the files of all shards; several are read at a time, since there may be tens of thousands."""

    def check(receipt: Receipt) -> tuple[list[Fault], dict[str, Counter[str]]]:
        protocols: dict[str, Counter[str]] = {}
        return list(_receipt_faults(manifest, receipt, _expected_hash(audit, receipt), protocols)), protocols

    faults = []
    protocols: dict[str, Counter[str]] = defaultdict(Counter)
    with ThreadPoolExecutor(READERS) as pool:
        for shard_faults, shard_protocols in pool.map(check, manifest.receipts.values()):
            faults += shard_faults
            for table, counts in shard_protocols.items():
                protocols[table] += counts
    return [*faults, *_mixed_protocols(protocols)]


def _expected_hash(audit: AuditRecord, receipt: Receipt) -> str:
    """Return the hash that a shard's files must carry: of its analysis, or of the audit."""
    return audit.analyses[receipt.stage].hash if receipt.stage in audit.analyses else audit.hash


def _receipt_faults(
    manifest: Manifest, receipt: Receipt, audit: str, protocols: dict[str, Counter[str]]
) -> Iterator[Fault]:
    """Check that each file of a shard exists, is intact, belongs to its table and audit, and has all its rows."""
    manifest.storage.bring_near((file.file, file.sha256) for file in receipt.files)
    for file in receipt.files:
        try:
            if not file.table:
                read_verified(manifest.storage, file)
                continue
            if file.table not in TABLES:
                yield Fault("unknown", file.file, f"nothing that is installed here declares table {file.table}")
                continue
            parquet = open_verified(manifest.storage, file)
        except TableFileError as error:
            kind = "missing" if isinstance(error, MissingTableFileError) else "damaged"
            yield Fault(kind, file.file, f"of shard {receipt.shard}; {error}")
            continue
        if not audit.startswith(audit_of(parquet)):
            yield Fault("foreign", file.file, f"its rows belong to audit {audit_of(parquet)}, not {audit[:12]}")
        if parquet.metadata.num_rows != file.rows:
            yield Fault("damaged", file.file, f"{parquet.metadata.num_rows} rows; the manifest records {file.rows}")
        columns = [name for name in ("class_id", "protocol") if name in TABLES[file.table].columns]
        rows = parquet.read(columns=columns)
        yield from _stray_rows(receipt, file, rows)
        if "protocol" in columns:
            values = rows["protocol"].value_counts().to_pylist()
            counts = protocols.setdefault(file.table, Counter())
            counts.update({value["values"]: value["counts"] for value in values})


def _stray_rows(receipt: Receipt, file: PublishedFile, rows: pa.Table) -> Iterator[Fault]:
    """Find rows of classes that the shard does not cover."""
    if not receipt.class_ids or "class_id" not in rows.column_names:
        return
    class_ids = set(pc.unique(rows["class_id"]).to_pylist())
    strays = sorted(class_ids - set(receipt.class_ids))
    if strays:
        names = ", ".join(map(str, strays[:5]))
        yield Fault("foreign", file.file, f"rows of classes {names}, which shard {receipt.shard} does not cover")


def _mixed_protocols(protocols: dict[str, Counter[str]]) -> Iterator[Fault]:
    for table, counts in protocols.items():
        if len(counts) > 1:
            examples = "; ".join(f"{count} rows by {protocol!r}" for protocol, count in counts.most_common(3))
            yield Fault("mixed", table, f"{len(counts)} protocols: {examples}")


def _unrecorded_files(manifest: Manifest) -> Iterator[Fault]:
    """Find files that no receipt names: another copy of a shard, or the remains of an interrupted one."""
    for name in manifest.strays():
        shard = shard_of_file(name)
        if shard in manifest.receipts:
            yield Fault(
                "duplicate", name, f"shard {shard} is recorded with another file; the next audit removes this one"
            )
        else:
            yield Fault("orphan", name, "no finished shard owns it; the next audit removes it")


def _duplicate_coverage(manifest: Manifest) -> Iterator[Fault]:
    for stage in sorted({receipt.stage for receipt in manifest.receipts.values()}):
        counts = Counter(
            (class_id, *unit)
            for receipt in manifest.receipts.values()
            if receipt.stage == stage
            for class_id in receipt.class_ids
            for unit in receipt.units
        )
        twice = sorted((unit for unit, count in counts.items() if count > 1), key=str)
        if twice:
            first = ", ".join(map(str, twice[0]))
            yield Fault("duplicate", stage, f"{len(twice)} units are in two shards, the first: class {first}")


def _incomplete_stages(manifest: Manifest, audit: AuditRecord) -> Iterator[Fault]:
    """Find analyses that are not complete."""
    if SITES_TABLE.name not in manifest.receipts:
        yield Fault("incomplete", SITES_TABLE.name, "not written yet; run the audit")
        return
    for stage, analysis in audit.analyses.items():
        done = len(manifest.covered(stage))
        if done < analysis.n_units:
            yield Fault(
                "incomplete", stage, f"{done} of {analysis.n_units} {analysis.unit} are done; run the audit again"
            )
