"""Receipts of finished shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from cawa_core.tables.parquet import PublishedFile

HASH_DIGITS = 12
"""Number of digits of an analysis's hash in receipts and messages."""


@dataclasses.dataclass(frozen=True)
class Receipt:
    """Record of a finished shard: what it covers, its files, how long it took and where.

    Attributes:
        shard: name of the shard.
        stage: analysis that the shard belongs to.
        class_ids, sites: classes and sites that the shard covers; no sites if the analysis has none.
        files: published files.
        seconds, device: duration, and the device it was computed on.
        analysis: beginning of the hash of the analysis that its rows belong to.
        units: units of each class that the shard covers: values on the axes of the analysis after the class.
    """

    shard: str
    stage: str
    class_ids: tuple[int, ...]
    sites: tuple[int, ...]
    files: tuple[PublishedFile, ...]
    seconds: float
    device: str
    analysis: str = ""
    units: tuple[tuple[int | str, ...], ...] = ((),)

    def as_entry(self) -> dict[str, Any]:
        """Return the receipt as JSON-serialisable data, without the shard's name."""
        entry = dataclasses.asdict(self)
        del entry["shard"]
        return entry

    @classmethod
    def of_entry(cls, shard: str, entry: dict[str, Any]) -> Receipt:
        """Build a receipt from the data of :meth:`as_entry`.

        Raises:
            KeyError: a field is missing.
            TypeError: a field is of another type, or unknown.
            ValueError: a file is not a plain path below the folder of tables, or a digest is malformed.
        """
        return cls(
            shard=shard,
            files=tuple(PublishedFile.of_entry(file) for file in entry["files"]),
            class_ids=tuple(entry["class_ids"]),
            sites=tuple(entry["sites"]),
            stage=entry["stage"],
            seconds=entry["seconds"],
            device=entry["device"],
            analysis=entry.get("analysis", ""),
            units=tuple(map(tuple, entry.get("units", _units_of_sites(entry["sites"])))),
        )


def _units_of_sites(sites: Sequence[int]) -> list[list[int]]:
    """Return the units of a receipt that an earlier version wrote: the sites, or the whole class."""
    return [[site] for site in sites] or [[]]
