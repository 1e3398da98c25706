"""Execution of one shard, the same on every executor."""

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
    """A shard that failed permanently, and the traceback of its last attempt."""

    shard: Shard
    error: str


@dataclasses.dataclass(frozen=True)
class Retry:
    """A shard that failed and will be tried again, and the traceback."""

    shard: Shard
    error: str


Outcome = Receipt | Failure | Retry
Result = TypeVar("Result")


def execute(bench: Workbench, storage: Storage, shard: Shard) -> Receipt:
    """Compute a shard, publish its tables and return the receipt of the finished shard."""
    start = time.perf_counter()
    tables = within_memory(bench, lambda: STAGES[shard.stage].process(bench, shard))
    analysis = audit_identity(bench).analysis_hash(shard.stage)
    files = publish(storage, shard.name, tables, analysis)
    seconds = round(time.perf_counter() - start, 3)
    device = str(bench.generator.device)
    return Receipt(
        shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, device, analysis[:HASH_DIGITS]
    )


def within_memory(bench: Workbench, work: Callable[[], Result]) -> Result:
    """Run work in the spec's arithmetic, halving the batch size and repeating it after an out-of-memory error.

    Raises:
        torch.OutOfMemoryError: memory runs out even for one picture at a time.
    """
    while True:
        try:
            with bench.arithmetic():
                return work()
        except torch.OutOfMemoryError:
            if not bench.batch.halve():
                raise
