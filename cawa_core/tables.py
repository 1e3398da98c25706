"""Audit folders on disk: publish a shard's tables atomically, record them in the manifest, read by it.

A file is serialised in memory and put in place by one rename, so that a crash leaves either the whole
file or none. Only what the manifest names is ever read.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.schemas import TABLES

Rows = Mapping[str, Sequence[Any]]
"""Columns of a table by name."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


AUDIT = b"cawa.audit"
"""Key of a file's metadata: hash of the audit whose rows it holds."""


def to_parquet(name: str, rows: Rows, audit: str) -> bytes:
    """Serialise rows of a table under its fixed schema; the same rows of the same audit give the same bytes.

    Raises:
        ValueError: the columns are not those of the schema.
    """
    schema = TABLES[name].schema
    if set(rows) != set(schema.names):
        difference = sorted(set(rows) ^ set(schema.names))
        raise ValueError(f"rows of {name} must have the columns of its schema; they differ in {', '.join(difference)}")
    arrays = [_column(rows[field.name], field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema.with_metadata({AUDIT: audit.encode()}))
    buffer = io.BytesIO()
    # Floating-point columns hardly repeat: a dictionary of them costs time and space.
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    pq.write_table(table, buffer, compression="zstd", use_dictionary=repeating)
    return buffer.getvalue()


def _column(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401
    return values if isinstance(values, pa.ChunkedArray) else pa.array(values, type=kind, from_pandas=True)


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """One Parquet file of a shard: its table, its path inside the folder, its rows and digest."""

    table: str
    file: str
    rows: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What a finished shard leaves behind: what it covers, its files, how and where it was computed.

    Attributes:
        shard: its name.
        stage: the stage that it is a part of.
        class_ids, sites: the block that it covers; no sites where the stage does not go by site.
        files: what was published.
        seconds, device: how long it took, and where.
    """

    shard: str
    stage: str
    class_ids: tuple[int, ...]
    sites: tuple[int, ...]
    files: tuple[PublishedFile, ...]
    seconds: float
    device: str


def publish(folder: Path, shard: str, tables: Mapping[str, Rows], audit: str) -> tuple[PublishedFile, ...]:
    """Write each table of a shard to its one file under ``folder/tables``; ``audit``: the hash it belongs to."""
    published = []
    for name, rows in tables.items():
        content = to_parquet(name, rows, audit)
        file = f"tables/{name}/part-{shard}.parquet"
        write_atomically(folder / file, content)
        n_rows = len(next(iter(rows.values())))
        published.append(PublishedFile(name, file, n_rows, digest_of_bytes(content)))
    return tuple(published)


class Manifest:
    """``manifest.json``: the only truth about what is finished; written by the driver alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.receipts: dict[str, Receipt] = {}
        self.quarantined: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder; empty where there is none yet.

        Raises:
            InputError: the file is no manifest.
        """
        manifest, path = cls(folder), folder / "manifest.json"
        if not path.exists():
            return manifest
        try:
            content = json.loads(path.read_text())
            manifest.receipts = {shard: _receipt(shard, entry) for shard, entry in content["shards"].items()}
            manifest.quarantined = dict(content["quarantined"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error!r}); restore it, or start in another folder") from None
        return manifest

    def add(self, receipt: Receipt) -> None:
        """Record a finished shard and write the manifest."""
        self.receipts[receipt.shard] = receipt
        self.quarantined.pop(receipt.shard, None)
        self.write()

    def quarantine(self, shard: str, error: str) -> None:
        """Record that a shard failed for good, and why, and write the manifest."""
        self.quarantined[shard] = error
        self.write()

    def write(self) -> None:
        """Replace ``manifest.json``."""
        shards = {shard: _entry(self.receipts[shard]) for shard in sorted(self.receipts)}
        content = {"shards": shards, "quarantined": self.quarantined}
        write_atomically(self.folder / "manifest.json", json.dumps(content, indent=1).encode())

    def tidy(self) -> None:
        """Forget shards whose files are gone and what was quarantined; remove files that no shard owns.

        Only the driver that holds the folder may do this, before it plans.
        """
        kept = {shard: receipt for shard, receipt in self.receipts.items() if self._is_whole(receipt)}
        if kept != self.receipts or self.quarantined:
            self.receipts, self.quarantined = kept, {}
            self.write()
        owned = {file.file for receipt in kept.values() for file in receipt.files}
        for path in sorted(self.folder.glob("tables/*/*part-*.parquet*")):
            if path.relative_to(self.folder).as_posix() not in owned:
                path.unlink()

    def _is_whole(self, receipt: Receipt) -> bool:
        return all((self.folder / file.file).exists() for file in receipt.files)

    def covered(self, stage: str) -> set[tuple[int, int]]:
        """(class, site) pairs of a stage whose recorded files are all there; site -1 where it has none."""
        return {
            (class_id, site)
            for receipt in self.receipts.values()
            if receipt.stage == stage and self._is_whole(receipt)
            for class_id in receipt.class_ids
            for site in receipt.sites or (-1,)
        }

    def digest(self, without_stage: str = "") -> str:
        """SHA-256 over the recorded files' digests: changes exactly when some table changes."""
        receipts = [receipt for receipt in self.receipts.values() if receipt.stage != without_stage]
        files = sorted(f"{file.file} {file.sha256}" for receipt in receipts for file in receipt.files)
        return digest_of_bytes("\n".join(files).encode())

    def table(self, name: str) -> pd.DataFrame:
        """All recorded rows of a table, in the order of its key; empty where no shard wrote any.

        Raises:
            InputError: a recorded file is missing, damaged, or of another audit than the rest.
        """
        files = [file for receipt in self.receipts.values() for file in receipt.files if file.table == name]
        files.sort(key=lambda file: file.file)
        parts = [_read_verified(self.folder, file) for file in files]
        _require_one_audit(name, files, parts)
        whole = pa.concat_tables(parts) if parts else TABLES[name].schema.empty_table()
        frame: pd.DataFrame = whole.to_pandas()
        return frame.sort_values(list(TABLES[name].key), ignore_index=True)


def _read_verified(folder: Path, published: PublishedFile) -> pa.Table:
    path = folder / published.file
    if not path.exists():
        raise InputError(f"{path} is missing; run the audit again to compute it anew")
    content = path.read_bytes()
    if digest_of_bytes(content) != published.sha256:
        raise InputError(
            f"{path} does not have the digest that manifest.json records; "
            "remove the file and run the audit again to compute it anew"
        )
    return pq.read_table(io.BytesIO(content))


def _require_one_audit(name: str, files: Sequence[PublishedFile], parts: Sequence[pa.Table]) -> None:
    """Rows of different models, evaluators or protocols never join silently."""
    expected = TABLES[name].schema
    for file, part in zip(files, parts, strict=True):
        audits = [(one.schema.metadata or {}).get(AUDIT, b"none").decode()[:12] for one in (parts[0], part)]
        if audits[0] != audits[1]:
            raise InputError(
                f"table {name} mixes audits: {files[0].file} is of {audits[0]}, {file.file} of {audits[1]}; "
                "remove what does not belong, and run the audit again"
            )
        if not part.schema.equals(expected):
            raise InputError(f"{file.file} does not have the columns of table {name}; run the audit in a new folder")


def _entry(receipt: Receipt) -> dict[str, Any]:
    entry = dataclasses.asdict(receipt)
    del entry["shard"]
    return entry


def _receipt(shard: str, entry: dict[str, Any]) -> Receipt:
    files = tuple(PublishedFile(**file) for file in entry["files"])
    class_ids, sites = tuple(entry["class_ids"]), tuple(entry["sites"])
    return Receipt(shard, entry["stage"], class_ids, sites, files, entry["seconds"], entry["device"])
