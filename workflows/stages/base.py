"""What a stage declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: how it is cut into shards, and how a shard becomes rows.

    Attributes:
        name: the same as its module and, but for companions, its table.
        by_site: whether a shard covers one site, or all of them.
        classes_per_shard: classes to a shard unless the user says otherwise.
        passes: expected work for one class (and site) in generator passes.
        process: rows of each table, a pure function of workbench and shard.
    """

    name: str
    by_site: bool
    classes_per_shard: int
    passes: Callable[[Workbench, int], float]
    process: Callable[[Workbench, Shard], dict[str, Rows]]
