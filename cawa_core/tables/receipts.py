"""What a finished shard leaves behind."""

from __future__ import annotations

import dataclasses
from typing import Any

from cawa_core.tables.parquet import PublishedFile

HASH_DIGITS = 12
"""Of an analysis's hash, in a receipt and as a message gives it."""


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What a finished shard leaves behind: what it covers, its files, how and where it was computed.

    Attributes:
        shard: its name.
        stage: the stage that it is a part of.
        class_ids, sites: the block that it covers; no sites where the stage does not go by site.
        files: what was published.
        seconds, device: how long it took, and where.
        analysis: beginning of the hash of the analysis that its rows belong to.
    """

    shard: str
    stage: str
    class_ids: tuple[int, ...]
    sites: tuple[int, ...]
    files: tuple[PublishedFile, ...]
    seconds: float
    device: str
    analysis: str = ""

    def as_entry(self) -> dict[str, Any]:
        """Plain JSON-able data, the name left out."""
        entry = dataclasses.asdict(self)
        del entry["shard"]
        return entry

    @classmethod
    def of_entry(cls, shard: str, entry: dict[str, Any]) -> Receipt:
        """The reverse of :meth:`as_entry`.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another type, or unknown.
            ValueError: a file is not a plain path below the folder of tables, or a digest is none.
        """
        files = tuple(PublishedFile.of_entry(file) for file in entry["files"])
        class_ids, sites = tuple(entry["class_ids"]), tuple(entry["sites"])
        analysis = entry.get("analysis", "")
        return cls(shard, entry["stage"], class_ids, sites, files, entry["seconds"], entry["device"], analysis)
