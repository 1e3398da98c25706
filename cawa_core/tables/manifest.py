"""Record of an audit's finished shards, and access to their rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.storage import Folder, open_storage
from cawa_core.tables.parquet import (
    PUBLISHED_FOLDERS,
    PublishedFile,
    audit_of,
    name_of_file,
    open_verified,
    read_verified,
    row_groups_with,
)
from cawa_core.tables.receipts import Receipt
from cawa_core.tables.schema import table_named

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
JOURNAL = "manifest.jsonl"
"""Receipts since ``manifest.json`` was last written; it exists only while an audit runs or after it was killed."""
FEW_LINES = 256
"""``manifest.json`` is rewritten when the journal has this many lines, and at least half as many as receipts."""


class Manifest:
    """``manifest.json``, the only record of what is finished; only the driver writes it.

    A finished shard is appended to the journal immediately. ``manifest.json`` is rewritten as the journal grows, when
    a shard is quarantined, and at the end. So a shard costs little more than a line, and a crash loses none.

    Attributes:
        storage: storage of the folder.
        receipts: finished shards by name: the results of the folder.
        replacements: finished shards of results that will replace others once they are complete, by name, for each
            beginning of an analysis's hash. No table shows them until then.
        quarantined: errors of shards that failed for good, by name.
    """

    def __init__(self, folder: Folder) -> None:
        self.storage = open_storage(folder)
        self.receipts: dict[str, Receipt] = {}
        self.replacements: dict[str, dict[str, Receipt]] = {}
        self.quarantined: dict[str, str] = {}
        self._journal_length = 0
        self._audits: dict[str, tuple[str, str]] = {}
        self._names: set[str] | None = None

    @classmethod
    def read(cls, folder: Folder) -> Manifest:
        """Read the manifest of a folder, including its journal; it is empty if there is none yet.

        Raises:
            InputError: the file is not a manifest.
            StorageError: the file cannot be read.
        """
        manifest = cls(folder)
        try:
            # Read the journal first: the driver may be about to move its lines into manifest.json.
            entries = [json.loads(line) for line in manifest.storage.lines(JOURNAL)]
            manifest._journal_length = len(entries)
            content = manifest._content()
            manifest.receipts = _receipts(content["shards"])
            manifest.replacements = {
                analysis: _receipts(shards) for analysis, shards in content.get("replacements", {}).items()
            }
            manifest.quarantined = dict(content["quarantined"])
            for entry in entries:
                manifest._insert(Receipt.of_entry(entry["shard"], entry))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{manifest.storage.path(MANIFEST)} is damaged ({type(error).__name__}: {error}); restore it, or "
                "start in another folder"
            ) from None
        return manifest

    def _content(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self.storage.read(MANIFEST))
        except FileNotFoundError:
            return {"shards": {}, "quarantined": {}}
        return content

    def add(self, receipt: Receipt) -> None:
        """Record a finished shard, durably when this returns, and remove the files that it replaces."""
        previous = self._shards_of(receipt).get(receipt.shard)
        self.storage.append(JOURNAL, json.dumps({"shard": receipt.shard, **receipt.as_entry()}).encode())
        self._journal_length += 1
        self._insert(receipt)
        if previous is not None:
            self._remove({file.file for file in previous.files} - {file.file for file in receipt.files})
        if self._journal_length >= max(FEW_LINES, len(self.receipts) // 2):
            self.write()

    def _insert(self, receipt: Receipt) -> None:
        if self._names is not None:
            self._names.update(file.file for file in receipt.files)
        self._shards_of(receipt)[receipt.shard] = receipt
        self.quarantined.pop(receipt.shard, None)

    def _shards_of(self, receipt: Receipt) -> dict[str, Receipt]:
        """Return the shards that a receipt belongs to: those of the folder, or those of a replacement."""
        return self.replacements.get(receipt.analysis, self.receipts)

    def begin_replacement(self, analysis: str) -> None:
        """Keep the shards of an analysis (by the beginning of its hash) apart from the results of the folder."""
        if analysis not in self.replacements:
            self.replacements[analysis] = {}
            self.write()

    def finish_replacement(self, stage: str, analysis: str) -> None:
        """Replace the results of a stage by what was kept apart, in one write, and remove the old files."""
        before = self.owned
        other_receipts = {shard: receipt for shard, receipt in self.receipts.items() if receipt.stage != stage}
        self.receipts = other_receipts | self.replacements.pop(analysis)
        self.write()
        self._remove(before - self.owned)

    def drop_replacements(self, stages: Collection[str], wanted: Collection[str]) -> None:
        """Drop replacements of some analyses that are no longer wanted, and remove their files.

        Args:
            stages: names of the analyses.
            wanted: beginnings of the hashes to keep.
        """
        before = self.owned
        unwanted = [
            analysis
            for analysis, shards in self.replacements.items()
            if analysis not in wanted and all(receipt.stage in stages for receipt in shards.values())
        ]
        for analysis in unwanted:
            del self.replacements[analysis]
        if unwanted:
            self.write()
            self._remove(before - self.owned)

    def remove(self, shards: Collection[str]) -> None:
        """Remove finished shards from the results of the folder, in one write, and then their files."""
        before = self.owned
        receipts = {shard: receipt for shard, receipt in self.receipts.items() if shard not in shards}
        if len(receipts) < len(self.receipts):
            self.receipts = receipts
            self.write()
            self._remove(before - self.owned)

    def _remove(self, names: Collection[str]) -> None:
        for name in sorted(names):
            self.storage.remove(name)
        if self._names is not None:
            self._names.difference_update(names)

    def quarantine(self, shard: str, error: str) -> None:
        """Record that a shard failed for good, with the reason, and write the manifest."""
        self.quarantined[shard] = error
        self.write()

    def write(self) -> None:
        """Replace ``manifest.json`` and clear the journal, which it then includes."""
        content: dict[str, Any] = {"shards": _entries(self.receipts), "quarantined": self.quarantined}
        if self.replacements:
            content["replacements"] = {name: _entries(shards) for name, shards in self.replacements.items()}
        self.storage.replace(MANIFEST, json.dumps(content, indent=1).encode())
        self.storage.clear(JOURNAL)
        self._journal_length = 0

    def settle(self) -> None:
        """Write ``manifest.json`` unless it is complete."""
        if self._journal_length:
            self.write()

    def tidy(self) -> None:
        """Drop quarantines and shards with missing files, and remove files that belong to no shard.

        Only the driver that has locked the folder may call this, before it plans.
        """
        self._names = None
        receipts = _complete(self.receipts, self.names)
        replacements = {name: _complete(shards, self.names) for name, shards in self.replacements.items()}
        is_complete = (receipts, replacements) == (self.receipts, self.replacements)
        if not is_complete or self.quarantined or self._journal_length:
            self.receipts, self.replacements = receipts, replacements
            self.quarantined = {}
            self.write()
        self._remove(self.strays())

    @property
    def names(self) -> set[str]:
        """Names of all files in the folder, listed on first use: in a large folder, a listing takes seconds.

        Files that this manifest publishes or removes later are added and left out; what others do is not seen.
        """
        if self._names is None:
            self._names = set(self.storage.names())
        return self._names

    def file(self, stage: str, name: str) -> Iterator[tuple[Receipt, bytes]]:
        """Yield a file that the shards of an analysis wrote, such as a trained map, with the receipt of each shard.

        Args:
            stage: name of the analysis.
            name: name of the file.

        Raises:
            InputError: a recorded file is missing or damaged.
        """
        for receipt in self.receipts.values():
            for file in receipt.files:
                if receipt.stage == stage and not file.table and name_of_file(file) == name:
                    yield receipt, read_verified(self.storage, file)

    def strays(self) -> list[str]:
        """List files that belong to no shard: tables, and leftovers of interrupted writes anywhere in the folder."""
        owned = self.owned
        folders = tuple(f"{folder}/" for folder in PUBLISHED_FOLDERS)
        return sorted(
            name
            for name in self.names
            if (name.startswith(folders) and name not in owned) or self.storage.is_leftover(name)
        )

    @property
    def owned(self) -> set[str]:
        """Files that belong to a shard, replacements included."""
        groups = [self.receipts, *self.replacements.values()]
        return {file.file for shards in groups for receipt in shards.values() for file in receipt.files}

    def covered(self, stage: str, analysis: str = "") -> set[tuple[int | str, ...]]:
        """Return the units of an analysis whose recorded files all exist: the class, then values on its other axes.

        Args:
            stage: name of the analysis.
            analysis: beginning of the hash that the rows must belong to, replacements included; if left out, the
                folder's results whatever they are.
        """
        shards = self.receipts | self.replacements.get(analysis, {})
        selected = {
            shard: receipt
            for shard, receipt in shards.items()
            if receipt.stage == stage and (not analysis or receipt.analysis == analysis)
        }
        complete = _complete(selected, self.names) if selected else {}
        return {
            (class_id, *unit)
            for receipt in complete.values()
            for class_id in receipt.class_ids
            for unit in receipt.units
        }

    def digest(self, without: Collection[str] = ()) -> str:
        """Return the SHA-256 of the recorded files' digests, which changes exactly when a table changes.

        Args:
            without: analyses that are left out.
        """
        receipts = [receipt for receipt in self.receipts.values() if receipt.stage not in without]
        files = sorted(f"{file.file} {file.sha256}" for receipt in receipts for file in receipt.files)
        return digest_of_bytes("\n".join(files).encode())

    def table(self, name: str) -> pd.DataFrame:
        """Return all recorded rows of a table, sorted by its key; empty if no shard wrote any.

        Raises:
            InputError: a recorded file is missing, damaged, or of another audit than the rest.
        """
        frame: pd.DataFrame = self.rows(name).to_pandas()
        return frame.sort_values(list(table_named(name).key), ignore_index=True)

    def rows(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        sites: Collection[int] = (),
        class_ids: Collection[int] = (),
        text_as_codes: Sequence[str] = (),
    ) -> pa.Table:
        """Return recorded rows of a table, file by file; files and row groups without selected rows are not read.

        Args:
            name: name of the table.
            columns: columns to read; None means all.
            sites, class_ids: rows to select; empty means all.
            text_as_codes: text columns to read as dictionaries.

        Raises:
            InputError: see :meth:`table`.
        """
        parts = []
        selection = {key: values for key, values in (("site", sites), ("class_id", class_ids)) if len(values)}
        files = self._files(name, sites, class_ids)
        self.storage.bring_near((file.file, file.sha256) for file in files)
        for file in files:
            parquet = self._open(file, text_as_codes)
            columns_to_read = None if columns is None else list(dict.fromkeys([*columns, *selection]))
            part = parquet.read_row_groups(row_groups_with(parquet, selection), columns=columns_to_read)
            for key, values in selection.items():
                is_selected = pc.is_in(part[key], pa.array(list(values), part[key].type))
                if not pc.all(is_selected).as_py():
                    part = part.filter(is_selected)
            parts.append(part if columns is None else part.select(columns))
        if parts:
            return pa.concat_tables(parts)
        return table_named(name).schema.empty_table().select(columns or table_named(name).schema.names)

    def row_groups(self, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of a table, one row group at a time.

        Raises:
            InputError: see :meth:`table`.
        """
        for file in self._files(name):
            parquet = self._open(file)
            for group in range(parquet.num_row_groups):
                yield parquet.read_row_group(group, columns=list(columns))

    def sites(self, name: str) -> list[int]:
        """Return the sites that recorded shards of a table cover, ascending."""
        return sorted({site for receipt in self._receipts_with(name) for site in receipt.sites})

    def class_ids(self, name: str) -> list[int]:
        """Return the classes that recorded shards of a table cover, ascending."""
        return sorted({class_id for receipt in self._receipts_with(name) for class_id in receipt.class_ids})

    def _receipts_with(self, name: str) -> list[Receipt]:
        return [receipt for receipt in self.receipts.values() if any(file.table == name for file in receipt.files)]

    def _files(self, name: str, sites: Collection[int] = (), class_ids: Collection[int] = ()) -> list[PublishedFile]:
        """Return a table's files that may hold rows of the sites and classes, sorted by name; empty means all."""
        files = [
            file
            for receipt in self._receipts_with(name)
            if not (sites and receipt.sites) or set(sites) & set(receipt.sites)
            if not (class_ids and receipt.class_ids) or set(class_ids) & set(receipt.class_ids)
            for file in receipt.files
            if file.table == name
        ]
        return sorted(files, key=lambda file: file.file)

    def _open(self, file: PublishedFile, text_as_codes: Sequence[str] = ()) -> pq.ParquetFile:
        """Open and verify a file; refuse a table whose files belong to different audits."""
        parquet = open_verified(self.storage, file, text_as_codes)
        first, audit = self._audits.setdefault(file.table, (file.file, audit_of(parquet)))
        if audit != audit_of(parquet):
            raise InputError(
                f"table {file.table} mixes audits: {first} is of {audit}, {file.file} of {audit_of(parquet)}; "
                "remove the file that does not belong, and run the audit again"
            )
        return parquet


def _receipts(entries: dict[str, dict[str, Any]]) -> dict[str, Receipt]:
    return {shard: Receipt.of_entry(shard, entry) for shard, entry in entries.items()}


def _entries(receipts: dict[str, Receipt]) -> dict[str, dict[str, Any]]:
    return {shard: receipts[shard].as_entry() for shard in sorted(receipts)}


def _complete(receipts: dict[str, Receipt], names: Collection[str]) -> dict[str, Receipt]:
    """Return the receipts whose files are all among those of the given names."""
    return {shard: receipt for shard, receipt in receipts.items() if all(file.file in names for file in receipt.files)}
