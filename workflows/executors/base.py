"""What an executor does."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cawa_core.storage import Storage
    from workflows.config import RunOptions
    from workflows.execution import Outcome
    from workflows.shards import Shard
    from workflows.workbench import Workbench


class Executor(Protocol):
    """Runs shards and hands back one outcome a shard, in any order, as they come."""

    def run(
        self, bench: Workbench, options: RunOptions, storage: Storage, shards: Sequence[Shard]
    ) -> Generator[Outcome, None, None]:
        """Execute all shards; workers start at the call, where there are any, and stop when the generator is closed."""
        ...

    def close(self) -> None:
        """Wait until nothing that was started is left; more than once does nothing."""
        ...
