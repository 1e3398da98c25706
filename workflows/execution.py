"""Do one shard: the same few lines wherever they run."""

from __future__ import annotations

import dataclasses
import time

import torch

from cawa_core.storage import Storage
from cawa_core.tables import Receipt, Rows, publish
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Failure:
    """A shard that failed for good, and the traceback of its last attempt."""

    shard: Shard
    error: str


@dataclasses.dataclass(frozen=True)
class Retry:
    """A shard that failed and will be tried again, and why."""

    shard: Shard
    error: str


Outcome = Receipt | Failure | Retry


def execute(bench: Workbench, storage: Storage, shard: Shard) -> Receipt:
    """Compute a shard and publish its tables: it is finished by this, and the receipt says so."""
    start = time.perf_counter()
    files = publish(storage, shard.name, rows_of_shard(bench, shard), bench.identity.hash)
    seconds = round(time.perf_counter() - start, 3)
    return Receipt(shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, str(bench.generator.device))


def rows_of_shard(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """The tables of a shard in the audit's arithmetic, in smaller batches where the device's memory runs out."""
    while True:
        try:
            with bench.arithmetic():
                return STAGES[shard.stage].process(bench, shard)
        except torch.OutOfMemoryError:
            if not bench.halve_batch():
                raise
