"""What of an audit is finished, and every recorded row of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.schemas import TABLES
from cawa_core.storage import Folder, open_storage
from cawa_core.tables.parquet import TABLES_FOLDER, PublishedFile, audit_of, open_verified, row_groups_with
from cawa_core.tables.receipts import Receipt

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
JOURNAL = "manifest.jsonl"
"""Receipts since ``manifest.json`` was last written; there only while an audit runs, or after it was killed."""
FEW_LINES = 256
"""``manifest.json`` is written anew when the journal has this many lines, or as many as there are receipts."""


class Manifest:
    """``manifest.json``: the only truth about what is finished; written by the driver alone.

    A finished shard is appended to the journal at once, and ``manifest.json`` written anew as the journal grows, when a
    shard is quarantined and at the end: thousands of shards cost no more than so many lines, and a crash loses none.

    Attributes:
        storage: of the folder.
        receipts: finished shards by name: the results of the folder.
        replacements: finished shards of results that are to replace others once they are complete, by name, for each
            beginning of an analysis's hash. No table shows them until then.
        quarantined: errors of shards that failed for good, by name.
    """

    def __init__(self, folder: Folder) -> None:
        self.storage = open_storage(folder)
        self.receipts: dict[str, Receipt] = {}
        self.replacements: dict[str, dict[str, Receipt]] = {}
        self.quarantined: dict[str, str] = {}
        self._journalled = 0
        self._audits: dict[str, tuple[str, str]] = {}

    @classmethod
    def read(cls, folder: Folder) -> Manifest:
        """The manifest of a folder with its journal; empty where there is none yet.

        Raises:
            InputError: the file is no manifest.
            StorageError: it cannot be read.
        """
        manifest = cls(folder)
        try:
            # The journal first: manifest.json may be about to take it in.
            finished = [json.loads(line) for line in manifest.storage.lines(JOURNAL)]
            manifest._journalled = len(finished)
            content = manifest._content()
            manifest.receipts = _receipts(content["shards"])
            manifest.replacements = {
                analysis: _receipts(shards) for analysis, shards in content.get("replacements", {}).items()
            }
            manifest.quarantined = dict(content["quarantined"])
            for entry in finished:
                manifest._take(Receipt.of_entry(entry["shard"], entry))
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
        """Record a finished shard: on the disk or in the store when this returns; files that it replaces go."""
        replaced = self._shards_of(receipt).get(receipt.shard)
        self.storage.append(JOURNAL, json.dumps({"shard": receipt.shard, **receipt.as_entry()}).encode())
        self._journalled += 1
        self._take(receipt)
        if replaced is not None:
            for file in {one.file for one in replaced.files} - {one.file for one in receipt.files}:
                self.storage.remove(file)
        if self._journalled >= max(FEW_LINES, len(self.receipts) // 2):
            self.write()

    def _take(self, receipt: Receipt) -> None:
        self._shards_of(receipt)[receipt.shard] = receipt
        self.quarantined.pop(receipt.shard, None)

    def _shards_of(self, receipt: Receipt) -> dict[str, Receipt]:
        """Among which shards a receipt belongs: those of the folder, or those of a replacement that was begun."""
        return self.replacements.get(receipt.analysis, self.receipts)

    def begin_replacement(self, analysis: str) -> None:
        """Keep the shards of an analysis, by the beginning of its hash, apart from the folder's results from now on."""
        if analysis not in self.replacements:
            self.replacements[analysis] = {}
            self.write()

    def finish_replacement(self, stage: str, analysis: str) -> None:
        """Put what was kept apart in the place of a stage's results, by one writing; the files of these go."""
        before = self.owned
        others = {shard: receipt for shard, receipt in self.receipts.items() if receipt.stage != stage}
        self.receipts = others | self.replacements.pop(analysis)
        self.write()
        self._remove(before - self.owned)

    def drop_replacements(self, stage: str, wanted: str = "") -> None:
        """Forget replacements of a stage that were begun and are no longer wanted, and remove their files."""
        before = self.owned
        for analysis, shards in list(self.replacements.items()):
            if analysis != wanted and all(receipt.stage == stage for receipt in shards.values()):
                del self.replacements[analysis]
        if self.owned != before:
            self.write()
            self._remove(before - self.owned)

    def _remove(self, names: Collection[str]) -> None:
        for name in sorted(names):
            self.storage.remove(name)

    def quarantine(self, shard: str, error: str) -> None:
        """Record that a shard failed for good, and why, and write the manifest."""
        self.quarantined[shard] = error
        self.write()

    def write(self) -> None:
        """Replace ``manifest.json``; the journal is in it then."""
        content: dict[str, Any] = {"shards": _entries(self.receipts), "quarantined": self.quarantined}
        if self.replacements:
            content["replacements"] = {name: _entries(shards) for name, shards in self.replacements.items()}
        self.storage.replace(MANIFEST, json.dumps(content, indent=1).encode())
        self.storage.clear(JOURNAL)
        self._journalled = 0

    def settle(self) -> None:
        """Write ``manifest.json`` if it lacks anything."""
        if self._journalled:
            self.write()

    def tidy(self) -> None:
        """Forget shards whose files are gone and what was quarantined; remove what nothing owns.

        Only the driver that holds the folder may do this, before it plans.
        """
        present = self.storage.names(TABLES_FOLDER)
        kept = _whole(self.receipts, present)
        replacements = {name: _whole(shards, present) for name, shards in self.replacements.items()}
        if (kept, replacements) != (self.receipts, self.replacements) or self.quarantined or self._journalled:
            self.receipts, self.replacements, self.quarantined = kept, replacements, {}
            self.write()
        for name in self.strays(present):
            self.storage.remove(name)

    def strays(self, present: Collection[str]) -> list[str]:
        """Files that nothing owns: tables of no shard, and what interrupted writings left anywhere in the folder.

        Args:
            present: files in the folder of tables.
        """
        return sorted(set(present) - self.owned | set(self.storage.leftovers()))

    @property
    def owned(self) -> set[str]:
        """Files that some shard owns, those of replacements among them."""
        every = [self.receipts, *self.replacements.values()]
        return {file.file for shards in every for receipt in shards.values() for file in receipt.files}

    def covered(self, stage: str, analysis: str = "") -> set[tuple[int, int]]:
        """(class, site) pairs of a stage whose recorded files are all there; site -1 where it has none.

        Args:
            stage: of the shards.
            analysis: beginning of the hash of the analysis that the rows must belong to, replacements included; the
                folder's results, whatever they are, when left out.
        """
        shards = self.receipts | self.replacements.get(analysis, {})
        return {
            (class_id, site)
            for receipt in _whole(shards, self.storage.names(TABLES_FOLDER)).values()
            if receipt.stage == stage and (not analysis or receipt.analysis == analysis)
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
        frame: pd.DataFrame = self.rows(name).to_pandas()
        return frame.sort_values(list(TABLES[name].key), ignore_index=True)

    def rows(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        sites: Collection[int] = (),
        class_ids: Collection[int] = (),
        text_as_codes: Sequence[str] = (),
    ) -> pa.Table:
        """Recorded rows of a table, file by file; only what may hold what is asked for is read.

        Args:
            columns: which; all when left out.
            sites, class_ids: only their rows; all when left out.
            text_as_codes: text columns to read as dictionaries.

        Raises:
            InputError: as :meth:`table`.
        """
        parts, wanted = [], {"site": sites, "class_id": class_ids}
        files = self._files(name, sites, class_ids)
        self.storage.bring_near((file.file, file.sha256) for file in files)
        for file in files:
            opened = self._opened(file, text_as_codes)
            needed = [key for key, values in wanted.items() if len(values)]
            read = None if columns is None else list(dict.fromkeys([*columns, *needed]))
            part = opened.read_row_groups(row_groups_with(opened, wanted), columns=read)
            for key in needed:
                inside = pc.is_in(part[key], pa.array(list(wanted[key]), part[key].type))
                if not pc.all(inside).as_py():
                    part = part.filter(inside)
            parts.append(part if columns is None else part.select(columns))
        if parts:
            return pa.concat_tables(parts)
        return TABLES[name].schema.empty_table().select(columns or TABLES[name].schema.names)

    def row_groups(self, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of a table, one row group at a time.

        Raises:
            InputError: as :meth:`table`.
        """
        for file in self._files(name):
            opened = self._opened(file)
            for group in range(opened.num_row_groups):
                yield opened.read_row_group(group, columns=list(columns))

    def sites(self, name: str) -> list[int]:
        """Sites that recorded shards of a table cover, ascending."""
        return sorted({site for receipt in self._receipts(name) for site in receipt.sites})

    def class_ids(self, name: str) -> list[int]:
        """Classes that recorded shards of a table cover, ascending."""
        return sorted({class_id for receipt in self._receipts(name) for class_id in receipt.class_ids})

    def _receipts(self, name: str) -> list[Receipt]:
        return [receipt for receipt in self.receipts.values() if any(file.table == name for file in receipt.files)]

    def _files(self, name: str, sites: Collection[int] = (), class_ids: Collection[int] = ()) -> list[PublishedFile]:
        """Files of a table that may hold rows of some sites and classes, by name."""
        files = [
            file
            for receipt in self._receipts(name)
            if not (sites and receipt.sites) or set(sites) & set(receipt.sites)
            if not (class_ids and receipt.class_ids) or set(class_ids) & set(receipt.class_ids)
            for file in receipt.files
            if file.table == name
        ]
        return sorted(files, key=lambda file: file.file)

    def _opened(self, file: PublishedFile, text_as_codes: Sequence[str] = ()) -> pq.ParquetFile:
        """A verified file; rows of different models, evaluators or protocols never join silently."""
        opened = open_verified(self.storage, file, text_as_codes)
        first, audit = self._audits.setdefault(file.table, (file.file, audit_of(opened)))
        if audit != audit_of(opened):
            raise InputError(
                f"table {file.table} mixes audits: {first} is of {audit}, {file.file} of {audit_of(opened)}; "
                "remove what does not belong, and run the audit again"
            )
        return opened


def _receipts(entries: dict[str, dict[str, Any]]) -> dict[str, Receipt]:
    return {shard: Receipt.of_entry(shard, entry) for shard, entry in entries.items()}


def _entries(receipts: dict[str, Receipt]) -> dict[str, dict[str, Any]]:
    return {shard: receipts[shard].as_entry() for shard in sorted(receipts)}


def _whole(receipts: dict[str, Receipt], present: Collection[str]) -> dict[str, Receipt]:
    """Receipts whose files are all there."""
    there = set(present)
    return {shard: receipt for shard, receipt in receipts.items() if all(file.file in there for file in receipt.files)}
