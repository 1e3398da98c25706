"""Do one shard: the same few lines wherever they run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from cawa_core.storage import Storage
from cawa_core.tables import Receipt, publish
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.identity import audit_identity
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


def execute(bench: Workbench, storage: Storage, shard: Shard) -> Receipt:
    """Compute a shard and publish its tables: it is finished by this, and the receipt says so."""
    start = time.perf_counter()
    tables = within_memory(bench, lambda: STAGES[shard.stage].process(bench, shard))
    analysis = audit_identity(bench).analysis_hash(shard.stage)
    files = publish(storage, shard.name, tables, analysis)
    seconds, device = round(time.perf_counter() - start, 3), str(bench.generator.device)
    return Receipt(
        shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, device, analysis[:HASH_DIGITS]
    )


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
            if not bench.batch.halve():
                raise
