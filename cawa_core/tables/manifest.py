"""Record of an audit's finished shards, and access to their rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cawa_core.digests import digest_of_bytes
from cawa_core.storage import Folder, open_storage
from cawa_core.storage.names import is_plain
from cawa_core.tables.documents import (
    CHANGED,
    MANIFEST,
    DamagedManifestError,
    LostManifestError,
    is_as_written,
    parsed,
    sealed,
)
from cawa_core.tables.parquet import PUBLISHED_FOLDERS, name_of_file
from cawa_core.tables.receipts import Entry, JournalEntry, ManifestContent, Receipt
from cawa_core.tables.recorded_file import read_verified
from cawa_core.tables.recorded_rows import RecordedRows

JOURNAL = "manifest.jsonl"
"""Receipts since ``manifest.json`` was last written; it exists only while an audit runs or after it was killed."""
FEW_LINES = 256
"""``manifest.json`` is rewritten when the journal has this many lines, and at least half as many as receipts."""


class Manifest(RecordedRows):
    """``manifest.json``, the only record of what is finished; only the driver writes it.

    A finished shard is appended to the journal immediately. ``manifest.json`` is rewritten as the journal grows, when
    a shard is quarantined, and at the end. So a shard costs little more than a line, and a crash loses none.

    Every table belongs to a shard. The report and its figures, which are written from the tables, are recorded with
    their digests in ``written``.

    Attributes:
        storage: storage of the folder.
        receipts: finished shards by name: the results of the folder.
        replacements: finished shards of results that will replace others once they are complete, by name, for each
            beginning of an analysis's hash. No table shows them until then.
        quarantined: errors of shards that failed for good, by name.
        written: SHA-256 of the report and its figures, by name, as last written.
        is_as_written: whether ``manifest.json`` is what cawa wrote there; if not, something else has changed it.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__(open_storage(folder))
        self.replacements: dict[str, dict[str, Receipt]] = {}
        self.quarantined: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self.is_as_written = True
        self._exists = False
        self._journal_length = 0
        self._names: set[str] | None = None

    @classmethod
    def read(cls, folder: Folder, accept_changes: bool = False) -> Manifest:
        """Read the manifest of a folder, including its journal; it is empty if nothing is finished yet.

        Args:
            folder: audit folder.
            accept_changes: whether to read one that something else has changed; see :attr:`is_as_written`.

        Raises:
            LostManifestError: the folder holds results, but no manifest.
            DamagedManifestError: the manifest is none, or was changed.
            StorageError: the file cannot be read.
        """
        manifest = cls(folder)
        try:
            # Read the journal first: the driver may be about to move its lines into manifest.json.
            lines = [parsed(JournalEntry, line) for line in manifest.storage.lines(JOURNAL)]
            manifest._journal_length = len(lines)
            manifest._read_content()
        except ValueError as error:
            raise DamagedManifestError(manifest.storage, str(error)) from None
        except FileNotFoundError:
            if any(manifest.storage.names(folder) for folder in PUBLISHED_FOLDERS):
                raise LostManifestError(manifest.storage) from None
        if not (manifest.is_as_written or accept_changes):
            raise DamagedManifestError(manifest.storage, CHANGED)
        for line in lines:
            manifest._insert(Receipt.of_entry(line["shard"], line))
        return manifest

    def _read_content(self) -> None:
        """Read ``manifest.json``.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is no manifest.
        """
        data = self.storage.read(MANIFEST)
        content = parsed(ManifestContent, data)
        self._exists = True
        self.is_as_written = is_as_written(data, content.get("digest", ""))
        self.receipts = _receipts(content["shards"])
        self.replacements = {name: _receipts(shards) for name, shards in content.get("replacements", {}).items()}
        self.quarantined = content["quarantined"]
        self.written = content.get("written", {})

    def add(self, receipt: Receipt) -> None:
        """Record a finished shard, durably when this returns, and remove the files that it replaces."""
        self.begin()
        previous = self._shards_of(receipt).get(receipt.shard)
        self.storage.append(JOURNAL, json.dumps({"shard": receipt.shard, **receipt.as_entry()}).encode())
        self._journal_length += 1
        self._insert(receipt)
        if previous is not None:
            self._remove({file.file for file in previous.files} - {file.file for file in receipt.files})
        if self._journal_length >= max(FEW_LINES, len(self.receipts) // 2):
            self.write()

    def begin(self) -> None:
        """Write ``manifest.json`` if there is none: a folder with results but without it has lost it."""
        if not self._exists and not self.storage.exists(MANIFEST):
            self.write()
        self._exists = True

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

    def replace_shards(self, shards: Collection[str], receipts: Collection[Receipt]) -> None:
        """Replace finished shards by others with the same results, in one write, and remove the old files.

        Args:
            shards: names of the shards to replace.
            receipts: the shards that hold their results.
        """
        before = self.owned
        remaining = {shard: receipt for shard, receipt in self.receipts.items() if shard not in shards}
        self.receipts = remaining | {receipt.shard: receipt for receipt in receipts}
        self.write()
        self._remove(before - self.owned)

    def _remove(self, names: Collection[str]) -> None:
        self.storage.remove_all(sorted(names))
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
        if self.written:
            content["written"] = dict(sorted(self.written.items()))
        self.storage.replace(MANIFEST, sealed(content))
        self.storage.clear(JOURNAL)
        self._journal_length = 0

    def record_written(self, digests: Mapping[str, str]) -> None:
        """Record the SHA-256 of the files that were written from the tables, by name, and forget all others."""
        if self.written != digests:
            self.written = dict(digests)
            self.write()

    def settle(self) -> None:
        """Write ``manifest.json`` unless it is complete."""
        if self._journal_length:
            self.write()

    def tidy(self) -> None:
        """Drop quarantines and shards with missing files, and remove files that belong to no shard.

        Only the driver that has locked the folder may call this, before it plans.
        """
        self.begin()
        self._names = None
        receipts = _complete(self.receipts, self.names)
        replacements = {name: _complete(shards, self.names) for name, shards in self.replacements.items()}
        is_complete = (receipts, replacements) == (self.receipts, self.replacements)
        if not is_complete or self.quarantined or self._journal_length:
            self.receipts, self.replacements = receipts, replacements
            self.quarantined = {}
            self.write()
        self._remove([name for name in self.strays() if is_plain(name)])

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
        for receipt in self._shown():
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


def _receipts(entries: Mapping[str, Entry]) -> dict[str, Receipt]:
    return {shard: Receipt.of_entry(shard, entry) for shard, entry in entries.items()}


def _entries(receipts: dict[str, Receipt]) -> dict[str, dict[str, Any]]:
    return {shard: receipts[shard].as_entry() for shard in sorted(receipts)}


def _complete(receipts: dict[str, Receipt], names: Collection[str]) -> dict[str, Receipt]:
    """Return the receipts whose files are all among those of the given names."""
    return {shard: receipt for shard, receipt in receipts.items() if all(file.file in names for file in receipt.files)}
