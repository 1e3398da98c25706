"""The unit of work: one stage, one block of classes, one block of sites."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shard:
    """Minutes of work that result in one Parquet file per table.

    Attributes:
        stage: name of the stage.
        class_ids: classes of the block, ascending.
        sites: sites of the block, ascending; empty where the stage does not go by site.
        cost: expected work in generator passes or their equivalent; longer shards start first.
    """

    stage: str
    class_ids: tuple[int, ...]
    sites: tuple[int, ...] = ()
    cost: float = dataclasses.field(default=0.0, compare=False)

    @property
    def name(self) -> str:
        """Name of the shard within its audit, and of its files."""
        classes = f"c{self.class_ids[0]:04d}-{self.class_ids[-1]:04d}"
        sites = f"-s{self.sites[0]:02d}-{self.sites[-1]:02d}" if self.sites else ""
        return f"{self.stage}-{classes}{sites}"


def blocks(items: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    """Split items into consecutive blocks of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]
