"""In this process, one shard after another."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from cawa_core.storage import Storage, StorageError
from cawa_core.tables import Receipt
from workflows.config import RunOptions
from workflows.execution import Failure, Outcome, compute, write
from workflows.shards import Shard
from workflows.workbench import Workbench


class InlineExecutor:
    """No processes, no Ray: for notebooks, debugging and tests. A shard is written while the next is computed."""

    def run(
        self,
        bench: Workbench,
        options: RunOptions,  # noqa: ARG002
        storage: Storage,
        shards: Sequence[Shard],
    ) -> Iterator[Outcome]:
        """Execute the shards in the given order; a shard that raises is reported and the rest goes on."""
        with ThreadPoolExecutor(1) as writer:
            pending: tuple[Shard, Future[Receipt]] | None = None
            for shard in shards:
                try:
                    computed = compute(bench, shard)
                except Exception:  # one broken shard must not cost the others
                    yield Failure(shard, traceback.format_exc())
                    continue
                except BaseException:  # Ctrl-C: what is computed is kept
                    if pending is not None:
                        yield _settled(*pending)
                    raise
                if pending is not None:
                    yield _settled(*pending)
                pending = shard, writer.submit(write, bench, storage, shard, computed)
            if pending is not None:
                yield _settled(*pending)

    def close(self) -> None:
        """Nothing was started."""


def _settled(shard: Shard, written: Future[Receipt]) -> Outcome:
    try:
        return written.result()
    except StorageError:  # it would fail all others, too
        raise
    except Exception:  # the same
        return Failure(shard, traceback.format_exc())
