"""Execution of one shard, the same on every executor."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from cawa_core.storage import Storage
from cawa_core.tables import Manifest, Receipt, publish, publish_files
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.analyses import ANALYSES
from workflows.lab import Lab
from workflows.planning.shards import Shard
from workflows.running.job import Job


@dataclasses.dataclass(frozen=True)
class Failure:
    """A shard that failed permanently, and the traceback of its last attempt."""

    shard: Shard
    error: str


@dataclasses.dataclass(frozen=True)
class Retry:
    """A shard that failed and will be tried again, and the traceback.

    Attributes:
        shard: the shard.
        error: the traceback.
        parts: shards of single classes that take its place, so that one bad class does not cost the others; empty if
            the shard itself is tried again.
    """

    shard: Shard
    error: str
    parts: tuple[Shard, ...] = ()


Outcome = Receipt | Failure | Retry
Result = TypeVar("Result")


def execute(job: Job, storage: Storage, shard: Shard) -> Receipt:
    """Compute a shard, publish its tables and files, and return the receipt of the finished shard."""
    start = time.perf_counter()
    lab = job.lab
    work = job.work(shard.analysis)
    earlier = Manifest.read(storage) if ANALYSES[shard.analysis].after else None
    output = within_memory(lab, lambda: work.run(lab, job.spec, shard, earlier))
    analysis = job.identity.analysis_hash(shard.analysis)
    files = publish(storage, shard.name, output.tables, analysis, shard.coverage(output.tables, output.files))
    files += publish_files(storage, shard.name, shard.analysis, output.files)
    return Receipt(
        shard=shard.name,
        stage=shard.analysis,
        class_ids=shard.class_ids,
        sites=shard.sites,
        files=files,
        seconds=round(time.perf_counter() - start, 3),
        device=str(lab.generator.device),
        analysis=analysis[:HASH_DIGITS],
        units=shard.units,
    )


def within_memory(lab: Lab, work: Callable[[], Result]) -> Result:
    """Run work in the spec's arithmetic, halving the batch size and repeating it after an out-of-memory error.

    Raises:
        torch.OutOfMemoryError: memory runs out even for one picture at a time.
    """
    while True:
        try:
            with lab.arithmetic():
                return work()
        except torch.OutOfMemoryError:
            if not lab.batch.halve():
                raise
