"""A lost or damaged manifest, made again from the metadata of the tables."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError, first_line
from cawa_core.storage import Folder, Storage, open_storage
from cawa_core.tables import Manifest, PublishedFile, Receipt
from cawa_core.tables.audit_record import AnalysisRecord, AuditRecord
from cawa_core.tables.documents import MANIFEST, DamagedManifestError, LostManifestError, parsed
from cawa_core.tables.parquet import AUDIT, COVERAGE, DIGITS, FILES_FOLDER, TABLES_FOLDER, name_of_file, shard_of_file
from cawa_core.tables.receipts import HASH_DIGITS, Coverage
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses import ANALYSES
from workflows.folders.folder import read_recorded_audit
from workflows.results import aggregate
from workflows.results.derive import derived_stages
from workflows.results.report import write_report
from workflows.results.summary import read_summary

UNKNOWN_DEVICE = "unknown"


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A table as it was found, and what its metadata say of its shard."""

    published: PublishedFile
    coverage: Coverage
    audit: str


def rebuild(folder: Folder) -> list[str]:
    """Make ``manifest.json`` again from the tables, then the derived tables, the summary and the report.

    Returns:
        What could not be rebuilt, in words.

    Raises:
        InputError: the folder holds no audit, its manifest is intact, or its tables do not say what they hold.
    """
    storage = open_storage(folder)
    record = read_recorded_audit(storage)
    with storage.locked():
        _require_damage(storage)
        reasons: dict[str, str] = {}
        manifest = Manifest(storage)
        tables = list(_tables(storage, reasons))
        # Those of more classes first: joining may have been stopped after it had removed some of those it replaced.
        shards = sorted(_receipts(storage, tables, reasons), key=lambda shard: -len(shard[0].class_ids))
        for receipt, audit in shards:
            _insert(manifest, record, receipt, audit, reasons)
        if SITES_TABLE.name not in manifest.receipts:
            raise InputError(
                f"{storage.url} has no intact table {SITES_TABLE.name} that names its shard, so {MANIFEST} cannot be "
                "rebuilt; nothing was changed. Restore it, or run the audit in another folder"
            )
        notes = _recall_seconds(manifest)
        manifest.write()
        aggregate(manifest)
        write_report(manifest)
    n_shards = sum(map(len, (manifest.receipts, *manifest.replacements.values())))
    left_out = [f"left out {name}: {reason}; the next audit removes it" for name, reason in sorted(reasons.items())]
    return [
        f"rebuilt {MANIFEST}: {n_shards} shards, their devices and what was quarantined are unknown",
        *notes,
        *left_out,
    ]


def _require_damage(storage: Storage) -> None:
    try:
        Manifest.read(storage)
    except (DamagedManifestError, LostManifestError):
        return
    raise InputError(f"{storage.path(MANIFEST)} is intact; --rebuild is for one that is lost or damaged")


def _tables(storage: Storage, reasons: dict[str, str]) -> Iterator[TableFile]:
    """Read the metadata of all intact tables but derived ones, which are computed again.

    Args:
        storage: of the folder.
        reasons: takes why each other file is left out.
    """
    derived = {table.name for analysis in ANALYSES.derived for table in analysis.tables}
    for name in storage.names(TABLES_FOLDER):
        table = name.split("/")[1]
        if table in derived:
            continue
        content = storage.read(name)
        sha256 = digest_of_bytes(content)
        if not name.endswith(f"-{sha256[:DIGITS]}.parquet"):
            reasons[name] = "damaged, or no table: its content does not have the digest in its name"
            continue
        try:
            metadata = pq.read_metadata(pa.BufferReader(content))
            coverage = parsed(Coverage, (metadata.metadata or {})[COVERAGE])
            audit = metadata.metadata[AUDIT].decode()
        except (pa.ArrowException, OSError, ValueError) as error:
            reasons[name] = f"not a table of this project: {first_line(error)}"
        except KeyError:
            reasons[name] = "it does not name its shard, as tables of earlier versions"
        else:
            yield TableFile(PublishedFile(table, name, metadata.num_rows, sha256), coverage, audit)


def _receipts(storage: Storage, tables: list[TableFile], reasons: dict[str, str]) -> Iterator[tuple[Receipt, str]]:
    """Yield a receipt for each shard whose every file is there exactly once, and the hash of its analysis."""
    shards: dict[tuple[str, str], list[TableFile]] = defaultdict(list)
    for table in tables:
        shards[table.coverage["shard"], table.audit].append(table)
    files_by_shard: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in storage.names(FILES_FOLDER):
        files_by_shard[name.split("/")[1], shard_of_file(name)].append(name)
    for (shard, audit), members in shards.items():
        coverage = members[0].coverage
        names = files_by_shard.get((coverage["stage"], shard), [])
        files = list(_intact(storage, names, coverage["files"]))
        published = [table.published for table in members]
        is_whole = (
            all(table.coverage == coverage for table in members)
            and sorted(file.table for file in published) == sorted(coverage["tables"])
            and sorted(map(name_of_file, files)) == sorted(coverage["files"])
        )
        if is_whole:
            yield _receipt(coverage, (*published, *files), audit), audit
        else:
            reasons |= {file.file: f"shard {shard} has lost a file, or has one twice" for file in (*published, *files)}


def _intact(storage: Storage, names: list[str], wanted: tuple[str, ...]) -> Iterator[PublishedFile]:
    """Yield the files of a shard besides its tables, if they have the digests in their names."""
    for name in names:
        sha256 = digest_of_bytes(storage.read(name))
        published = PublishedFile("", name, 0, sha256)
        if name_of_file(published) in wanted and name.rpartition("-")[2].startswith(sha256[:DIGITS]):
            yield published


def _receipt(coverage: Coverage, files: tuple[PublishedFile, ...], audit: str) -> Receipt:
    return Receipt(
        shard=coverage["shard"],
        stage=coverage["stage"],
        class_ids=coverage["class_ids"],
        sites=coverage["sites"],
        files=files,
        seconds=0.0,
        device=UNKNOWN_DEVICE,
        analysis=audit[:HASH_DIGITS],
        units=coverage["units"],
    )


def _insert(manifest: Manifest, record: AuditRecord, receipt: Receipt, audit: str, reasons: dict[str, str]) -> None:
    """Add a shard to the results of the folder, or to those that will replace others; or say why not."""
    current = AnalysisRecord(record.hash, {}, ()) if receipt.stage == SITES_TABLE.name else None
    current = current or record.analyses.get(receipt.stage)
    replacing = record.replacing.get(receipt.stage)
    if current is not None and current.hash == audit:
        shards = manifest.receipts
    elif replacing is not None and replacing.hash == audit:
        shards = manifest.replacements.setdefault(receipt.analysis, {})
    else:
        reasons |= {
            file.file: f"of {receipt.stage} with other options than {manifest.storage.url} records"
            for file in receipt.files
        }
        return
    if _units(receipt) & {unit for other in shards.values() if other.stage == receipt.stage for unit in _units(other)}:
        reasons |= {file.file: "another shard has the same classes" for file in receipt.files}
        return
    shards[receipt.shard] = receipt


def _units(receipt: Receipt) -> set[tuple[int | str, ...]]:
    """Return the units that a shard covers, with their classes; for the table of sites, none."""
    return {(class_id, *unit) for class_id in receipt.class_ids for unit in receipt.units}


def _recall_seconds(manifest: Manifest) -> list[str]:
    """Spread the seconds of each analysis, which the summary has if it is of these tables, evenly over its shards."""
    seconds = _summarised_seconds(manifest)
    shards: dict[str, list[str]] = defaultdict(list)
    for shard, receipt in manifest.receipts.items():
        shards[receipt.stage].append(shard)
    for stage, names in shards.items():
        for shard in names:
            share = seconds.get(stage, 0.0) / len(names)
            manifest.receipts[shard] = dataclasses.replace(manifest.receipts[shard], seconds=share)
    if seconds:
        return ["seconds of each shard are unknown: those of its stage, from summary.json, are spread evenly"]
    return ["seconds are unknown and count as 0: no summary.json of these tables has them"]


def _summarised_seconds(manifest: Manifest) -> Mapping[str, float]:
    try:
        summary = read_summary(manifest.storage)
    except InputError:
        return {}
    if summary["tables_digest"] != manifest.digest(without=derived_stages(manifest)):
        return {}
    seconds: Mapping[str, float] = summary["seconds"]
    return seconds
