"""Run shards in this process, one after another."""

from __future__ import annotations

import traceback
from collections.abc import Generator, Sequence

from cawa_core.numerics.device_errors import is_device_error
from cawa_core.storage import Storage, StorageError
from workflows.options.run import RunOptions
from workflows.planning.shards import Shard
from workflows.running.execution import Failure, Outcome, Retry, execute
from workflows.running.job import Job


class InlineExecutor:
    """Executor without other processes and without Ray, for notebooks, debugging and tests."""

    def run(
        self,
        job: Job,
        options: RunOptions,  # noqa: ARG002
        storage: Storage,
        shards: Sequence[Shard],
    ) -> Generator[Outcome, None, None]:
        """Execute the shards in the given order; a class that raises becomes a failure and the rest still run."""
        for shard in shards:
            outcome = _outcome(job, storage, shard)
            yield outcome
            if isinstance(outcome, Retry):
                for part in outcome.parts:
                    yield _outcome(job, storage, part)

    def close(self) -> None:
        """Do nothing; there are no workers."""


def _outcome(job: Job, storage: Storage, shard: Shard) -> Outcome:
    """Execute a shard; if it raises, give up a single class, and try several classes one by one."""
    try:
        return execute(job, storage, shard)
    except StorageError:  # every other shard would fail the same way
        raise
    except Exception as error:  # one broken shard must not stop the others
        if is_device_error(error):  # nothing more would run in this process
            raise
        if len(shard.class_ids) > 1:
            return Retry(shard, traceback.format_exc(), tuple(shard.split()))
        return Failure(shard, traceback.format_exc())
