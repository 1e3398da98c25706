"""The interface of an executor."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cawa_core.storage import Storage
    from workflows.options.run import RunOptions
    from workflows.planning.shards import Shard
    from workflows.running.execution import Outcome
    from workflows.running.job import Job


class Executor(Protocol):
    """Run shards and yield retries and one final outcome per shard, in any order, as they arrive."""

    def run(
        self, job: Job, options: RunOptions, storage: Storage, shards: Sequence[Shard]
    ) -> Generator[Outcome, None, None]:
        """Execute all shards; workers, if any, start at the call and stop when the generator is closed."""
        ...

    def close(self) -> None:
        """Wait until everything that was started has ended; further calls do nothing."""
        ...
