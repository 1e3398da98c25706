"""Is everything in an audit folder what the manifest says, and nothing else?"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import pyarrow.compute as pc
import pyarrow.parquet as pq

from cawa_core.audit_record import AuditRecord
from cawa_core.errors import InputError, last_line
from cawa_core.storage import Folder
from cawa_core.tables import Manifest, PublishedFile, Receipt
from cawa_core.tables.parquet import (
    TABLES_FOLDER,
    MissingTableFileError,
    TableFileError,
    audit_of,
    open_verified,
    shard_of_file,
)
from workflows.aggregate import is_current
from workflows.folder import opened_audit, read_audit
from workflows.report import report_shows
from workflows.stages import STAGES


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        kind: ``missing``, ``damaged``, ``foreign``, ``duplicate``, ``orphan``, ``mixed``, ``incomplete``,
            ``quarantined`` or ``stale``.
        subject: which file, shard, table or stage.
        explanation: what is wrong with it.
    """

    kind: str
    subject: str
    explanation: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.explanation}"


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Attributes:
        files, rows: recorded ones that were read.
        faults: none where all is well.
    """

    files: int
    rows: int
    faults: tuple[Fault, ...]


def verify(folder: Folder) -> Verification:
    """Read every recorded file of an audit and look for what is recorded nowhere.

    Raises:
        InputError: the folder holds no audit, or its manifest cannot be read.
    """
    storage = opened_audit(folder)
    audit, manifest = read_audit(storage), Manifest.read(storage)
    present = storage.names(TABLES_FOLDER)
    protocols: dict[str, Counter[str]] = {}
    faults = [
        fault
        for receipt in manifest.receipts.values()
        for fault in _of_receipt(manifest, receipt, _hash_of(audit, receipt), protocols)
    ]
    faults += _mixed(protocols)
    faults += _unrecorded(manifest, present)
    faults += _covered_twice(manifest)
    faults += _uncovered(manifest, audit)
    faults += [Fault("quarantined", shard, last_line(error)) for shard, error in manifest.quarantined.items()]
    if not (is_current(manifest) and report_shows(storage)):
        mend = f"run `cawa aggregate {storage.url}`, then `cawa report {storage.url}`"
        faults.append(Fault("stale", "summary and report", f"not of these tables; {mend}"))
    files = [file for receipt in manifest.receipts.values() for file in receipt.files]
    return Verification(len(files), sum(file.rows for file in files), tuple(faults))


def _hash_of(audit: AuditRecord, receipt: Receipt) -> str:
    """What the rows of a shard say they belong to: its analysis, or the audit."""
    return audit.analyses[receipt.stage].hash if receipt.stage in audit.analyses else audit.hash


def _of_receipt(
    manifest: Manifest, receipt: Receipt, audit: str, protocols: dict[str, Counter[str]]
) -> Iterator[Fault]:
    """Each file of a shard: there, whole, of its table and of this audit, with the rows it should have."""
    manifest.storage.bring_near((file.file, file.sha256) for file in receipt.files)
    for file in receipt.files:
        try:
            opened = open_verified(manifest.storage, file)
        except TableFileError as error:
            kind = "missing" if isinstance(error, MissingTableFileError) else "damaged"
            yield Fault(kind, file.file, f"of shard {receipt.shard}; {error}")
            continue
        if not audit.startswith(audit_of(opened)):
            yield Fault("foreign", file.file, f"its rows are of audit {audit_of(opened)}, this one is {audit[:12]}")
        if opened.metadata.num_rows != file.rows:
            yield Fault("damaged", file.file, f"{opened.metadata.num_rows} rows, the manifest says {file.rows}")
        yield from _outside(receipt, file, opened)
        if "protocol" in opened.schema_arrow.names:
            found = opened.read(columns=["protocol"])["protocol"].value_counts().to_pylist()
            counts = protocols.setdefault(file.table, Counter())
            counts.update({one["values"]: one["counts"] for one in found})


def _outside(receipt: Receipt, file: PublishedFile, opened: pq.ParquetFile) -> Iterator[Fault]:
    """Rows of classes that the shard does not cover."""
    if not receipt.class_ids or "class_id" not in opened.schema_arrow.names:
        return
    found = set(pc.unique(opened.read(columns=["class_id"])["class_id"]).to_pylist())
    if found - set(receipt.class_ids):
        strays = ", ".join(map(str, sorted(found - set(receipt.class_ids))[:5]))
        yield Fault("foreign", file.file, f"rows of classes {strays}, which shard {receipt.shard} does not cover")


def _mixed(protocols: dict[str, Counter[str]]) -> Iterator[Fault]:
    for table, counts in protocols.items():
        if len(counts) > 1:
            shown = "; ".join(f"{count} rows by {protocol!r}" for protocol, count in counts.most_common(3))
            yield Fault("mixed", table, f"{len(counts)} protocols: {shown}")


def _unrecorded(manifest: Manifest, present: list[str]) -> Iterator[Fault]:
    """Files that no shard owns: a second writing of a shard, or what an interrupted one left."""
    for name in manifest.strays(present):
        shard = shard_of_file(name)
        if shard in manifest.receipts:
            yield Fault("duplicate", name, f"shard {shard} is recorded with another file; the next audit removes it")
        else:
            yield Fault("orphan", name, "no finished shard owns it; the next audit removes it")


def _covered_twice(manifest: Manifest) -> Iterator[Fault]:
    for stage in STAGES:
        counts = Counter(
            (class_id, site)
            for receipt in manifest.receipts.values()
            if receipt.stage == stage
            for class_id in receipt.class_ids
            for site in receipt.sites or (-1,)
        )
        twice = sorted(pair for pair, count in counts.items() if count > 1)
        if twice:
            class_id, site = twice[0]
            where = f"class {class_id}" + f", site {site}" * (site >= 0)
            yield Fault("duplicate", stage, f"{len(twice)} blocks are in two shards, the first: {where}")


def _uncovered(manifest: Manifest, audit: AuditRecord) -> Iterator[Fault]:
    """Stages of which something is still to do."""
    if "sites" not in manifest.receipts:
        yield Fault("incomplete", "sites", "not written yet; run the audit")
        return
    try:
        sites = manifest.rows("sites").num_rows
    except InputError:
        sites = None  # its file is named already; how much there is to do by site is not known then
    for stage, analysis in audit.analyses.items():
        units = sites if STAGES[stage].by_site else 1
        if units is None:
            continue
        wanted, found = len(analysis.class_ids) * units, len(manifest.covered(stage))
        if found < wanted:
            unit = "class-site pairs" if STAGES[stage].by_site else "classes"
            yield Fault("incomplete", stage, f"{found} of {wanted} {unit} are done; run the audit again")
