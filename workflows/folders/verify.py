"""Check that an audit folder holds exactly what its manifest records."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from cawa_core.errors import InputError, counted, last_line, listed
from cawa_core.storage import Folder, OutsideFolderError, Storage, UnusableFileError, open_storage
from cawa_core.storage.names import is_plain
from cawa_core.tables import Manifest, PublishedFile, Receipt
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.documents import CHANGED, MANIFEST, DamagedManifestError, LostManifestError
from cawa_core.tables.parquet import shard_of_file
from cawa_core.tables.recorded_file import MissingTableFileError, RecordedTableFile, TableFileError, read_verified
from cawa_core.tables.schema import SITES_TABLE, TABLES, table_named
from workflows.folders.faults import Fault
from workflows.folders.folder import AUDIT, NoAuditError, read_audit
from workflows.folders.verify_documents import audit_faults, written_faults

READERS = 8
"""Shards whose files are read at the same time."""


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
    """Read every file of an audit and look for unrecorded ones.

    Raises:
        InputError: the folder holds no audit.
    """
    storage = open_storage(folder)
    storage.require_folder()
    try:
        return _verify(storage)
    except UnusableFileError as error:
        return Verification(0, 0, (Fault("foreign", storage.url, str(error)),))


def _verify(storage: Storage) -> Verification:
    try:
        manifest = Manifest.read(storage, accept_changes=True)
    except (DamagedManifestError, LostManifestError) as error:
        kind = "missing" if isinstance(error, LostManifestError) else "damaged"
        # Without a manifest nothing says which files belong to the audit.
        return Verification(0, 0, (*_audit_document(storage)[1], Fault(kind, MANIFEST, str(error))))
    audit, document_faults = _audit_document(storage)
    faults = [*document_faults]
    if not manifest.is_as_written:
        faults.append(Fault("damaged", MANIFEST, str(DamagedManifestError(storage, CHANGED))))
    unrecorded = list(_unrecorded_files(manifest))  # before minutes of reading, in which an audit may publish more
    faults += _table_faults(manifest, audit)
    faults += unrecorded
    faults += _duplicate_coverage(manifest)
    faults += _duplicate_files(manifest)
    faults += [Fault("quarantined", shard, last_line(error)) for shard, error in manifest.quarantined.items()]
    if audit is not None:
        faults += _incomplete_stages(manifest, audit)
        faults += written_faults(manifest, audit)
    files = [file for receipt in manifest.receipts.values() for file in receipt.files]
    n_files = len(files) + len(manifest.written)
    return Verification(n_files, sum(file.rows for file in files), tuple(faults))


def _audit_document(storage: Storage) -> tuple[AuditRecord | None, list[Fault]]:
    """Read ``audit.json``; what is wrong with it is a fault.

    Raises:
        InputError: there is none.
    """
    try:
        audit = read_audit(storage)
    except (DamagedManifestError, LostManifestError):
        return None, []  # named already
    except NoAuditError:
        raise
    except InputError as error:
        return None, [Fault("damaged", AUDIT, str(error))]
    return audit, list(audit_faults(audit))


def _table_faults(manifest: Manifest, audit: AuditRecord | None) -> list[Fault]:
    """Check the files of all shards; several are read at a time, since there may be tens of thousands."""

    def check(receipt: Receipt) -> tuple[list[Fault], dict[str, Counter[str]]]:
        protocols: dict[str, Counter[str]] = {}
        faults = list(_receipt_faults(manifest, receipt, _expected_hash(audit, receipt), protocols))
        return [*faults, *_unaudited_classes(audit, receipt)], protocols

    faults = []
    protocols: dict[str, Counter[str]] = defaultdict(Counter)
    with ThreadPoolExecutor(READERS) as pool:
        for shard_faults, shard_protocols in pool.map(check, manifest.receipts.values()):
            faults += shard_faults
            for table, counts in shard_protocols.items():
                protocols[table] += counts
    return [*faults, *_mixed_protocols(protocols)]


def _expected_hash(audit: AuditRecord | None, receipt: Receipt) -> str | None:
    """Return the hash that a shard's files must carry: of its analysis, or of the audit; None if nothing says it."""
    if audit is None:
        return None
    return audit.analyses[receipt.stage].hash if receipt.stage in audit.analyses else audit.hash


def _receipt_faults(
    manifest: Manifest, receipt: Receipt, audit: str | None, protocols: dict[str, Counter[str]]
) -> Iterator[Fault]:
    """Check that each file of a shard exists, is intact, belongs to its table and audit, and has all its rows."""
    manifest.storage.bring_near((file.file, file.sha256) for file in receipt.files)
    for file in receipt.files:
        if file.table and file.table not in TABLES:
            yield Fault("unknown", file.file, f"nothing that is installed here declares table {file.table}")
            continue
        try:
            if file.table:
                yield from _content_faults(receipt, file, RecordedTableFile(manifest.storage, file), audit, protocols)
            else:
                read_verified(manifest.storage, file)
        except UnusableFileError as error:
            kind = "foreign" if isinstance(error, OutsideFolderError) else "damaged"
            yield Fault(kind, file.file, f"of shard {receipt.shard}; {error}")
        except TableFileError as error:
            kind = "missing" if isinstance(error, MissingTableFileError) else "damaged"
            yield Fault(kind, file.file, f"of shard {receipt.shard}; {error}")


def _content_faults(
    receipt: Receipt,
    file: PublishedFile,
    table_file: RecordedTableFile,
    audit: str | None,
    protocols: dict[str, Counter[str]],
) -> Iterator[Fault]:
    """Check that the rows of a file belong to its shard and audit, and are all there; count their protocols."""
    if audit is not None and not audit.startswith(table_file.audit):
        yield Fault("foreign", file.file, f"its rows belong to audit {table_file.audit}, not {audit[:12]}")
    if table_file.n_rows != file.rows:
        yield Fault("damaged", file.file, f"{table_file.n_rows} rows; the manifest records {file.rows}")
    key = table_named(file.table).key
    columns = [name for name in dict.fromkeys((*key, "class_id", "protocol")) if name in table_file.columns]
    rows = table_file.read(columns, text_as_codes=columns)
    if receipt.class_ids:  # derived tables can be long, and are computed from these
        yield from _unidentified_rows(file, rows.select(key).unify_dictionaries())
    yield from _stray_rows(receipt, file, rows)
    if "protocol" in columns:
        values = rows["protocol"].value_counts().to_pylist()
        counts = protocols.setdefault(file.table, Counter())
        counts.update({value["values"]: value["counts"] for value in values})


def _unidentified_rows(file: PublishedFile, keys: pa.Table) -> Iterator[Fault]:
    """Find rows whose key is unknown, or is that of another row."""
    unknown = [name for name in keys.column_names if keys[name].null_count]
    if unknown:
        yield Fault("damaged", file.file, f"rows without {listed(unknown)}, which every row of its table has")
        return
    repeated = len(keys) - len(keys.group_by(keys.column_names).aggregate([]))
    if repeated:
        yield Fault("damaged", file.file, f"{counted(repeated, 'row')} with the {listed(keys.column_names)} of another")


def _unaudited_classes(audit: AuditRecord | None, receipt: Receipt) -> Iterator[Fault]:
    """Find shards of classes that their analysis does not have."""
    if audit is None or receipt.stage not in audit.analyses:
        return
    strays = sorted(set(receipt.class_ids) - set(audit.analyses[receipt.stage].class_ids))
    if strays:
        yield Fault("foreign", receipt.shard, f"a shard of classes {listed(strays)}, which {AUDIT} does not name")


def _stray_rows(receipt: Receipt, file: PublishedFile, rows: pa.Table) -> Iterator[Fault]:
    """Find rows of classes that the shard does not cover."""
    if not receipt.class_ids or "class_id" not in rows.column_names:
        return
    class_ids = set(pc.unique(rows["class_id"]).to_pylist())
    strays = sorted(class_ids - set(receipt.class_ids))
    if strays:
        yield Fault(
            "foreign", file.file, f"rows of classes {listed(strays)}, which shard {receipt.shard} does not cover"
        )


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
        elif is_plain(name):
            yield Fault("orphan", name, "no finished shard owns it; the next audit removes it")
        else:
            yield Fault("foreign", name, "cawa writes no such name; remove it")
    for name in manifest.storage.links_outside():
        yield Fault("foreign", name, "a link to a folder that is outside of the audit folder; remove the link")


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


def _duplicate_files(manifest: Manifest) -> Iterator[Fault]:
    counts = Counter(file.file for receipt in manifest.receipts.values() for file in receipt.files)
    for name, count in counts.items():
        if count > 1:
            yield Fault("duplicate", name, f"it is recorded {count} times")


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
