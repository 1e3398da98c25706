"""Files of many small shards joined into fewer ones, after an audit has computed them.

Shards are small so that a crash costs little, a bad class fails alone and no worker waits. Each writes a file per
table, which at a thousand classes is thousands of files with a few rows each. Joining changes neither a row nor what is
recorded as finished.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa

from cawa_core.tables import Manifest, PublishedFile, Receipt, publish
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.receipts import HASH_DIGITS
from cawa_core.tables.recorded_file import RecordedTableFile
from cawa_core.tables.schema import TABLES, table_named
from workflows.planning.shards import Shard

FEWEST_SHARDS = 10
"""Small shards of the same units are joined once there are this many."""
MOST_CLASSES = 50
LARGEST_BYTES = 4 * 2**20
"""Largest number of classes of a joined shard, and approximate size of its files: readers read whole files."""
FEWEST_CLASSES = 4
"""Shards so large that fewer classes than this fit into a joined one are left as they are."""


def join_small_shards(manifest: Manifest, record: AuditRecord) -> int:
    """Join small shards that cover the same units of different classes; return how many were joined into others.

    The joined files are written first, then recorded in one write, and then the old files are removed, so that a crash
    at any time leaves either the old or the new.

    Args:
        manifest: results of the folder, which the caller has locked.
        record: content of ``audit.json``.
    """
    joined: list[Receipt] = []
    replaced: set[str] = set()
    for group in _groups(manifest, record):
        for receipts in _parts(manifest, group):
            joined.append(_joined(manifest, receipts, record.analyses[receipts[0].stage].hash))
            replaced |= {receipt.shard for receipt in receipts}
    if joined:
        manifest.replace_shards(replaced, joined)
    return len(replaced)


def _groups(manifest: Manifest, record: AuditRecord) -> list[list[Receipt]]:
    """Return the shards of tables alone, grouped by analysis and units, each group in the order of its classes."""
    groups: dict[tuple[object, ...], list[Receipt]] = defaultdict(list)
    for receipt in manifest.receipts.values():
        tables = tuple(file.table for file in receipt.files)
        analysis = record.analyses.get(receipt.stage)
        is_of_folder = analysis is not None and receipt.analysis == analysis.hash[:HASH_DIGITS]
        if receipt.class_ids and is_of_folder and TABLES.keys() >= set(tables):
            groups[receipt.stage, receipt.units, tables].append(receipt)
    return [sorted(group, key=lambda receipt: receipt.class_ids) for group in groups.values()]


def _parts(manifest: Manifest, group: Sequence[Receipt]) -> Iterator[list[Receipt]]:
    """Divide the small shards of a group into those that are joined; their sizes are taken to be alike."""
    small = [receipt for receipt in group if len(receipt.class_ids) <= MOST_CLASSES // 2]
    if len(small) < FEWEST_SHARDS:
        return
    first = small[0]
    size = sum(len(manifest.storage.read_recorded(file.file, file.sha256)) for file in first.files)
    most = min(MOST_CLASSES, LARGEST_BYTES * len(first.class_ids) // size)
    small = [receipt for receipt in small if len(receipt.class_ids) <= most // 2]
    if len(small) < FEWEST_SHARDS or most < FEWEST_CLASSES:
        return
    part: list[Receipt] = []
    for receipt in small:
        if part and sum(len(other.class_ids) for other in part) + len(receipt.class_ids) > most:
            yield part
            part = []
        part.append(receipt)
    if len(part) > 1:
        yield part


def _joined(manifest: Manifest, receipts: Sequence[Receipt], analysis: str) -> Receipt:
    """Publish the rows of some shards as those of one."""
    first = receipts[0]
    class_ids = tuple(sorted(class_id for receipt in receipts for class_id in receipt.class_ids))
    shard = Shard(first.stage, class_ids, first.units, bool(first.sites))
    manifest.storage.bring_near((file.file, file.sha256) for receipt in receipts for file in receipt.files)
    tables = {
        file.table: _rows(manifest, [receipt.files[place] for receipt in receipts])
        for place, file in enumerate(first.files)
    }
    return Receipt(
        shard=shard.name,
        stage=first.stage,
        class_ids=class_ids,
        sites=first.sites,
        files=publish(manifest.storage, shard.name, tables, analysis, shard.coverage(tables)),
        seconds=round(sum(receipt.seconds for receipt in receipts), 3),
        device=", ".join(sorted({device for receipt in receipts for device in receipt.device.split(", ")})),
        analysis=first.analysis,
        units=first.units,
    )


def _rows(manifest: Manifest, files: Sequence[PublishedFile]) -> dict[str, pa.ChunkedArray]:
    """Return the rows of some files of a table, in the order of its key."""
    table = pa.concat_tables([RecordedTableFile(manifest.storage, file).read() for file in files])
    table = table.sort_by([(name, "ascending") for name in table_named(files[0].table).key])
    return {name: table[name] for name in table.column_names}
