"""Order and retries of shards: the policy of every executor that has workers."""

from __future__ import annotations

import dataclasses
import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence

from workflows.planning.shards import Shard
from workflows.running.execution import Failure, Retry

MAX_ERRORS, MAX_LOSSES = 3, 5
"""Attempts before a shard is given up: it raised ``MAX_ERRORS`` times, or ``MAX_LOSSES`` of its workers died. A spot
machine may vanish under any shard, so losses are allowed more often; a shard that loses every worker kills them."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a shard is tried again; doubled with each attempt."""


@dataclasses.dataclass(order=True, frozen=True)
class _Waiting:
    due: float
    place: int
    shard: Shard = dataclasses.field(compare=False)


class ShardQueue:
    """Queue of the shards that no worker is computing, the longest first.

    Args:
        shards: all shards, in the order in which they should start.
        clock: function that returns the time in seconds.
    """

    def __init__(self, shards: Sequence[Shard], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places = {shard.name: place for place, shard in enumerate(shards)}
        self._ready = [_Waiting(0.0, place, shard) for place, shard in enumerate(shards)]
        self._pausing: list[_Waiting] = []
        self.errors: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of waiting shards, including those that pause before a retry."""
        return len(self._ready) + len(self._pausing)

    def take(self) -> Shard | None:
        """Remove and return the longest shard that is due; None if all pause or none is left."""
        while self._pausing and self._pausing[0].due <= self._clock():
            due = heapq.heappop(self._pausing)
            heapq.heappush(self._ready, _Waiting(0.0, due.place, due.shard))
        return heapq.heappop(self._ready).shard if self._ready else None

    def raised(self, shard: Shard, error: str) -> Retry | Failure:
        """Requeue a shard that raised, after a pause, or give it up."""
        self.errors[shard.name] += 1
        return self._requeue(shard, error, self.errors[shard.name], MAX_ERRORS)

    def lost(self, shard: Shard, error: str) -> Retry | Failure:
        """Requeue the shard of a worker that died; allows more attempts than a failure does."""
        self.losses[shard.name] += 1
        return self._requeue(shard, error, self.losses[shard.name], MAX_LOSSES)

    def _requeue(self, shard: Shard, error: str, count: int, max_count: int) -> Retry | Failure:
        if count >= max_count:
            return Failure(shard, error)
        pause = min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)
        heapq.heappush(self._pausing, _Waiting(self._clock() + pause, self._places[shard.name], shard))
        return Retry(shard, error)
