"""Do one shard: the same few lines wherever they run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

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
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Computed:
    """Rows of a shard's tables, and how long they took."""

    tables: dict[str, Rows]
    seconds: float


def execute(bench: Workbench, storage: Storage, shard: Shard) -> Receipt:
    """Compute a shard, publish its tables, and say so."""
    return write(bench, storage, shard, compute(bench, shard))


def compute(bench: Workbench, shard: Shard) -> Computed:
    """The rows of a shard, and how long they took."""
    start = time.perf_counter()
    tables = within_memory(bench, lambda: STAGES[shard.stage].process(bench, shard))
    return Computed(tables, time.perf_counter() - start)


def within_memory(bench: Workbench, work: Callable[[], Result]) -> Result:
    """What some work gives in the spec's arithmetic, done again in smaller batches where the device's memory runs out.

    Raises:
        torch.OutOfMemoryError: one picture at a time is too many.
    """
    while True:
        try:
            with bench.arithmetic():
                return work()
        except torch.OutOfMemoryError:
            if not bench.halve_batch():
                raise


def write(bench: Workbench, storage: Storage, shard: Shard, computed: Computed) -> Receipt:
    """Publish what was computed: the shard is finished by this."""
    start = time.perf_counter()
    files = publish(storage, shard.name, computed.tables, bench.identity.hash)
    seconds = round(computed.seconds + time.perf_counter() - start, 3)
    return Receipt(shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, str(bench.generator.device))
