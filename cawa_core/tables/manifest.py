"""What of an audit is finished, and every recorded row of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.schemas import TABLES
from cawa_core.tables.files import write_atomically
from cawa_core.tables.journal import Journal
from cawa_core.tables.parquet import PublishedFile, audit_of, open_verified, row_groups_with
from cawa_core.tables.receipts import Receipt

FEW_LINES = 256
"""``manifest.json`` is written anew when the journal has this many lines, or as many as there are receipts."""


class Manifest:
    """``manifest.json``: the only truth about what is finished; written by the driver alone.

    A finished shard is appended to the journal at once, and ``manifest.json`` written anew as the journal grows, when a
    shard is quarantined and at the end: thousands of shards cost no more than so many lines, and a crash loses none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.receipts: dict[str, Receipt] = {}
        self.quarantined: dict[str, str] = {}
        self._journal = Journal(folder)
        self._audits: dict[str, tuple[str, str]] = {}

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder with its journal; empty where there is none yet.

        Raises:
            InputError: the file is no manifest.
        """
        manifest, path = cls(folder), folder / "manifest.json"
        try:
            finished = manifest._journal.read()  # before manifest.json, which may be about to take it in
            content = json.loads(path.read_text()) if path.exists() else {"shards": {}, "quarantined": {}}
            manifest.receipts = {shard: Receipt.of_entry(shard, entry) for shard, entry in content["shards"].items()}
            manifest.quarantined = dict(content["quarantined"])
            for entry in finished:
                manifest._take(Receipt.of_entry(entry["shard"], entry))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error!r}); restore it, or start in another folder") from None
        return manifest

    def add(self, receipt: Receipt) -> None:
        """Record a finished shard: on the disk when this returns."""
        self._take(receipt)
        self._journal.append({"shard": receipt.shard, **receipt.as_entry()})
        if self._journal.length >= max(FEW_LINES, len(self.receipts) // 2):
            self.write()

    def _take(self, receipt: Receipt) -> None:
        self.receipts[receipt.shard] = receipt
        self.quarantined.pop(receipt.shard, None)

    def quarantine(self, shard: str, error: str) -> None:
        """Record that a shard failed for good, and why, and write the manifest."""
        self.quarantined[shard] = error
        self.write()

    def write(self) -> None:
        """Replace ``manifest.json``; the journal is in it then."""
        shards = {shard: self.receipts[shard].as_entry() for shard in sorted(self.receipts)}
        content = {"shards": shards, "quarantined": self.quarantined}
        write_atomically(self.folder / "manifest.json", json.dumps(content, indent=1).encode())
        self._journal.clear()

    def settle(self) -> None:
        """Write ``manifest.json`` if it lacks anything."""
        if self._journal.length:
            self.write()

    def tidy(self) -> None:
        """Forget shards whose files are gone and what was quarantined; remove files that no shard owns.

        Only the driver that holds the folder may do this, before it plans.
        """
        kept = {shard: receipt for shard, receipt in self.receipts.items() if self._is_whole(receipt)}
        if kept != self.receipts or self.quarantined or self._journal.length:
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
        for file in self._files(name, sites, class_ids):
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
        opened = open_verified(self.folder, file, text_as_codes)
        first, audit = self._audits.setdefault(file.table, (file.file, audit_of(opened)))
        if audit != audit_of(opened):
            raise InputError(
                f"table {file.table} mixes audits: {first} is of {audit}, {file.file} of {audit_of(opened)}; "
                "remove what does not belong, and run the audit again"
            )
        return opened
