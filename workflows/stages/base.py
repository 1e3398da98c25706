"""The declaration of a stage."""

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
    """One stage of an audit: how its work is divided into shards, and how a shard becomes rows.

    Attributes:
        name: name of the stage, of its module and of its main table.
        by_site: whether each row belongs to a site, so that a shard may cover a single site.
        classes_per_shard: default number of classes per shard.
        passes: expected work for one class (at one site, if ``by_site``) in generator passes.
        process: pure function of the workbench and a shard that returns the rows of each table.
        rows: number of rows in the main table for one class.
        rows_of_shard: number of rows in the main table for a shard; needed where classes or sites differ, else ``rows``
            per class.
        pictures: number of PNG pictures in the rows of one class.
        seconds: expected seconds of a shard; without it, the estimate uses the seconds measured per class, else passes.
        reads_classes: other classes whose real images are read for a class.
        whole_classes: whether, under a spec, all sites of a class go into one shard because they share work.
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
