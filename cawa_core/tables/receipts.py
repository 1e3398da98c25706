"""Receipts of finished shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from cawa_core.storage.names import require_inside
from cawa_core.tables.documents import Index, Name, Seconds, Sha256
from cawa_core.tables.parquet import PublishedFile, require_place
from cawa_core.tables.schema import SITES_TABLE

HASH_DIGITS = 12
"""Number of digits of an analysis's hash in receipts and messages."""


class Entry(TypedDict):
    """A receipt in ``manifest.json``, without the shard's name; earlier versions left out the last two."""

    stage: Name
    class_ids: tuple[Index, ...]
    sites: tuple[Index, ...]
    files: tuple[Annotated[PublishedFile, AfterValidator(require_place)], ...]
    seconds: Seconds
    device: str
    analysis: NotRequired[str]
    units: NotRequired[tuple[tuple[int | str, ...], ...]]


class Coverage(TypedDict):
    """Units that a shard covers, in the metadata of its tables, so that a lost manifest can be rebuilt from them.

    ``tables`` and ``files`` name all that the shard published, so that an incomplete one is recognised.
    """

    shard: Name
    stage: Name
    class_ids: tuple[Index, ...]
    sites: tuple[Index, ...]
    units: tuple[tuple[int | str, ...], ...]
    tables: tuple[Name, ...]
    files: tuple[str, ...]


class JournalEntry(Entry):
    """A line of the journal."""

    shard: Name


SUMMARY, REPORT, FIGURES_FOLDER = "summary.json", "report.html", "figures"
"""The summary and the page that are written from the tables, and the folder of the page's figures."""


def _require_written(name: str) -> str:
    """Check that a path is that of the summary, the report or a figure: what is replaced as the tables change."""
    return name if name in (SUMMARY, REPORT) else require_inside(name, FIGURES_FOLDER)


class ManifestContent(TypedDict):
    """Content of ``manifest.json``; earlier versions had no seal and no record of what they wrote from the tables."""

    digest: NotRequired[str]
    shards: dict[Name, Entry]
    quarantined: dict[Name, str]
    replacements: NotRequired[dict[Name, dict[Name, Entry]]]
    written: NotRequired[dict[Annotated[str, AfterValidator(_require_written)], Sha256]]


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

    @property
    def is_derived(self) -> bool:
        """Whether its analysis is derived from others: it has the name of the analysis, and covers no class."""
        return self.shard == self.stage and not self.class_ids and self.stage != SITES_TABLE.name

    def as_entry(self) -> dict[str, Any]:
        """Return the receipt as JSON-serialisable data, without the shard's name."""
        entry = dataclasses.asdict(self)
        del entry["shard"]
        return entry

    @classmethod
    def of_entry(cls, shard: str, entry: Mapping[str, Any]) -> Receipt:
        """Build a receipt from the data of :meth:`as_entry`, which the caller has checked (:class:`Entry`)."""
        values = {"units": tuple(map(tuple, _units_of_sites(entry["sites"]))), **entry}
        return cls(**{**values, "shard": shard})


def _units_of_sites(sites: Sequence[int]) -> list[list[int]]:
    """Return the units of a receipt that an earlier version wrote: the sites, or the whole class."""
    return [[site] for site in sites] or [[]]
