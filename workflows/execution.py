"""Do one shard: the same few lines wherever they run."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from cawa_core.tables import Receipt, publish
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Failure:
    """A shard that failed for good, and the traceback of its last attempt."""

    shard: Shard
    error: str


Outcome = Receipt | Failure


def execute(bench: Workbench, folder: Path, shard: Shard) -> Receipt:
    """Compute a shard, publish its tables, and say so."""
    start = time.perf_counter()
    with bench.arithmetic():
        tables = STAGES[shard.stage].process(bench, shard)
    files = publish(folder, shard.name, tables, bench.identity.hash)
    seconds = round(time.perf_counter() - start, 3)
    return Receipt(shard.name, shard.stage, shard.class_ids, shard.sites, files, seconds, str(bench.generator.device))
