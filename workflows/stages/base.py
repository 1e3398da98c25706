"""What a stage declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from cawa_core.specs import AuditSpec
from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.units import Calibration
from workflows.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: how it is cut into shards, and how a shard becomes rows.

    Attributes:
        name: the same as its module and, but for companions, its table.
        by_site: whether rows belong to a site, so that a shard may cover one alone.
        classes_per_shard: classes to a shard unless the user says otherwise.
        passes: expected work for one class (and site) in generator passes.
        process: rows of each table, a pure function of workbench and shard.
        rows: of its table for one class.
        rows_of_shard: of its table for a shard, where classes and sites differ; else those of each class.
        pictures: PNG pictures in these rows.
        seconds: a shard takes; of a stage that has none, what was measured for its classes, else its passes.
        reads_classes: other classes that are looked at, with their real images, for a class.
        whole_classes: whether, under a spec, all sites of a class go into one shard: they share work.
    """

    name: str
    by_site: bool
    classes_per_shard: int
    passes: Callable[[Workbench, int], float]
    process: Callable[[Workbench, Shard], dict[str, Rows]]
    rows: Callable[[Workbench], int] = lambda _: 1
    rows_of_shard: Callable[[Workbench, Shard], int] | None = None
    pictures: Callable[[Workbench], int] = lambda _: 0
    seconds: Callable[[Workbench, Shard, Calibration], float] | None = None
    reads_classes: Callable[[Workbench, int], Sequence[int]] = lambda _bench, _class_id: ()
    whole_classes: Callable[[AuditSpec], bool] = lambda _: False
