"""In this process, one shard after another."""

from __future__ import annotations

import traceback
from collections.abc import Generator, Sequence

from cawa_core.storage import Storage, StorageError
from workflows.config import RunOptions
from workflows.execution import Failure, Outcome, execute
from workflows.shards import Shard
from workflows.workbench import Workbench


class InlineExecutor:
    """No processes, no Ray: for notebooks, debugging and tests."""

    def run(
        self,
        bench: Workbench,
        options: RunOptions,  # noqa: ARG002
        storage: Storage,
        shards: Sequence[Shard],
    ) -> Generator[Outcome, None, None]:
        """Execute the shards in the given order; a shard that raises is reported and the rest goes on."""
        for shard in shards:
            try:
                outcome: Outcome = execute(bench, storage, shard)
            except StorageError:  # it would fail all others, too
                raise
            except Exception:  # one broken shard must not cost the others
                outcome = Failure(shard, traceback.format_exc())
            yield outcome

    def close(self) -> None:
        """Nothing was started."""
