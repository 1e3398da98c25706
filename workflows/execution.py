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


@dataclasses.dataclass(frozen=True)
class Computed:
    """Rows of a shard's tables, and how long they took."""

    tables: dict[str, Rows]
    seconds: float


def execute(bench: Workbench, storage: Storage, shard: Shard) -> Receipt:
    """Compute a shard, publish its tables, and say so."""
    return write(bench, storage, shard, compute(bench, shard))


def compute(bench: Workbench, shard: Shard) -> Computed:
    """The rows of a shard in the audit's arithmetic, in smaller batches where the device's memory runs out."""
    start = time.perf_counter()
    while True:
        try:
            with bench.arithmetic():
                tables = STAGES[shard.stage].process(bench, shard)
            break
        except torch.OutOfMemoryError:
            if not bench.halve_batch():
                raise
    return Computed(tables, time.perf_counter() - start)


def write(bench: Workbench, storage: Storage, shard: Shard, computed: Computed) -> Receipt:
    """Publish what was computed: the shard is finished by this."""
    start = time.perf_counter()
    files = publish(storage, shard.name, computed.tables, bench.identity.hash)
    seconds = round(computed.seconds + time.perf_counter() - start, 3)
    return Receipt(shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, str(bench.generator.device))
