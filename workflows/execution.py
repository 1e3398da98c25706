"""Do one shard: the same few lines wherever they run."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from cawa_core.tables import Receipt, Rows, publish
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Failure:
    """A shard that failed for good, and the traceback of its last attempt."""

    shard: Shard
    error: str


Outcome = Receipt | Failure


@dataclasses.dataclass(frozen=True)
class Computed:
    """Rows of a shard's tables, and how long they took."""

    tables: dict[str, Rows]
    seconds: float


def execute(bench: Workbench, folder: Path, shard: Shard) -> Receipt:
    """Compute a shard, publish its tables, and say so."""
    return write(bench, folder, shard, compute(bench, shard))


def compute(bench: Workbench, shard: Shard) -> Computed:
    """The rows of a shard in the audit's arithmetic."""
    start = time.perf_counter()
    with bench.arithmetic():
        tables = STAGES[shard.stage].process(bench, shard)
    return Computed(tables, time.perf_counter() - start)


def write(bench: Workbench, folder: Path, shard: Shard, computed: Computed) -> Receipt:
    """Publish what was computed: the shard is finished by this."""
    start = time.perf_counter()
    files = publish(folder, shard.name, computed.tables, bench.identity.hash)
    seconds = round(computed.seconds + time.perf_counter() - start, 3)
    return Receipt(shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, str(bench.generator.device))
