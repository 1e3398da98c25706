"""In this process, one shard after another."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from workflows.config import RunOptions
from workflows.execution import Failure, Outcome, execute
from workflows.shards import Shard
from workflows.workbench import Workbench


class InlineExecutor:
    """No processes, no Ray: for notebooks, debugging and tests."""

    def run(self, bench: Workbench, options: RunOptions, folder: Path, shards: Sequence[Shard]) -> Iterator[Outcome]:  # noqa: ARG002
        """Execute the shards in the given order; a shard that raises is reported and the rest goes on."""
        for shard in shards:
            try:
                yield execute(bench, folder, shard)
            except Exception:  # one broken shard must not cost the others
                yield Failure(shard, traceback.format_exc())
