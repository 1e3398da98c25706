"""The unit of execution: one analysis, one block of classes, some units of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TypeVar

from cawa_core.digests import digest_of_bytes
from cawa_core.tables.receipts import Coverage
from workflows.interface import WHOLE_CLASS, Unit

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Minutes of work that result in one Parquet file per table, which may be joined with others later.

    Attributes:
        analysis: name of the analysis.
        class_ids: classes of the block, ascending.
        units: units of each class, in order.
        by_site: whether a unit is a site.
        cost: expected work in generator passes or their equivalent.
        turn: when the shard starts; shards of an earlier turn start first.
    """

    analysis: str
    class_ids: tuple[int, ...]
    units: tuple[Unit, ...] = (WHOLE_CLASS,)
    by_site: bool = False
    cost: float = dataclasses.field(default=0.0, compare=False)
    turn: int = dataclasses.field(default=0, compare=False)

    @property
    def sites(self) -> tuple[int, ...]:
        """Sites of the block; empty if its units are not sites."""
        return tuple(int(unit[0]) for unit in self.units) if self.by_site else ()

    @property
    def name(self) -> str:
        """Name of the shard within its audit, and of its files: the first and the last unit are in no other shard."""
        classes = f"c{self.class_ids[0]:04d}-{self.class_ids[-1]:04d}"
        if self.units == (WHOLE_CLASS,):
            return f"{self.analysis}-{classes}"
        prefix = "s" if self.by_site else "u"
        return f"{self.analysis}-{classes}-{prefix}{_text(self.units[0])}-{_text(self.units[-1])}"

    def coverage(self, tables: Collection[str], files: Collection[str] = ()) -> Coverage:
        """Return what its tables say of it, given the names of all tables and files that it publishes."""
        return {
            "shard": self.name,
            "stage": self.analysis,
            "class_ids": self.class_ids,
            "sites": self.sites,
            "units": self.units,
            "tables": tuple(sorted(tables)),
            "files": tuple(sorted(files)),
        }

    def split(self) -> list[Shard]:
        """Return one shard per class, with equal parts of the cost."""
        cost = self.cost / len(self.class_ids)
        return [dataclasses.replace(self, class_ids=(class_id,), cost=cost) for class_id in self.class_ids]


def _text(unit: Unit) -> str:
    """Return a unit as part of a file's name; text, which may hold any character, by its digest."""
    values = (f"{value:02d}" if isinstance(value, int) else digest_of_bytes(value.encode())[:8] for value in unit)
    return ".".join(values)


def blocks(items: Sequence[Item], size: int) -> list[tuple[Item, ...]]:
    """Split items into consecutive blocks of at most ``size``."""
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
