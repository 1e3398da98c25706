"""Order and retries of shards: the policy of every executor that has workers."""

from __future__ import annotations

import bisect
import dataclasses
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence

from workflows.planning.shards import Shard
from workflows.running.execution import Failure, Retry

MAX_ERRORS, MAX_LOSSES = 3, 5
"""Attempts before a shard of one class is given up: it raised ``MAX_ERRORS`` times, or ``MAX_LOSSES`` of its workers
died. A spot machine may vanish under any shard, so losses are allowed more often; a shard that loses every worker kills
them."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a shard is tried again; doubled with each attempt."""


@dataclasses.dataclass(order=True, frozen=True)
class _Waiting:
    due: float
    place: int
    shard: Shard = dataclasses.field(compare=False)


class ShardQueue:
    """Queue of the shards that no worker is computing.

    Args:
        shards: all shards, in the order in which they should start.
        clock: function that returns the time in seconds.
    """

    def __init__(self, shards: Sequence[Shard], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places = {shard.name: place for place, shard in enumerate(shards)}
        self._ready = [_Waiting(0.0, place, shard) for place, shard in enumerate(shards)]  # in the order of places
        self._pausing: list[_Waiting] = []
        self._last_turn = max((shard.turn for shard in shards), default=0)
        self.errors: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of waiting shards, including those that pause before a retry."""
        return len(self._ready) + len(self._pausing)

    def take(self, previous: Shard | None = None) -> Shard | None:
        """Remove and return the next shard that is due; None if all pause or none is left.

        Args:
            previous: shard that the worker has just computed. Of the shards of the next turn, one of the same classes
                is preferred, because the worker remembers what it computed for them; in the last turn, the longest is.
        """
        while self._pausing and self._pausing[0].due <= self._clock():
            due = heapq.heappop(self._pausing)
            bisect.insort(self._ready, _Waiting(0.0, due.place, due.shard))
        if not self._ready:
            return None
        return self._ready.pop(self._preferred(set(previous.class_ids)) if previous else 0).shard

    def _preferred(self, class_ids: set[int]) -> int:
        """Return the index of the first shard of the next turn with one of the classes, else of the very next shard."""
        turn = self._ready[0].shard.turn
        if turn < self._last_turn:
            candidates = itertools.takewhile(lambda waiting: waiting.shard.turn == turn, self._ready)
            for index, waiting in enumerate(candidates):
                if not class_ids.isdisjoint(waiting.shard.class_ids):
                    return index
        return 0

    def raised(self, shard: Shard, error: str) -> Retry | Failure:
        """Requeue a shard that raised, after a pause: its classes one by one; or give it up."""
        if len(shard.class_ids) > 1:
            return self._split(shard, error)
        self.errors[shard.name] += 1
        return self._requeue(shard, error, self.errors[shard.name], MAX_ERRORS)

    def lost(self, shard: Shard, error: str) -> Retry | Failure:
        """Requeue the shard of a worker that died; allows more attempts than a failure does."""
        self.losses[shard.name] += 1
        if self.losses[shard.name] >= MAX_LOSSES and len(shard.class_ids) > 1:
            return self._split(shard, error)
        return self._requeue(shard, error, self.losses[shard.name], MAX_LOSSES)

    def _split(self, shard: Shard, error: str) -> Retry:
        parts = tuple(shard.split())
        for part in parts:
            self._places[part.name] = self._places[shard.name]
            self._pause(part, FIRST_PAUSE)
        return Retry(shard, error, parts)

    def _requeue(self, shard: Shard, error: str, count: int, max_count: int) -> Retry | Failure:
        if count >= max_count:
            return Failure(shard, error)
        self._pause(shard, min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE))
        return Retry(shard, error)

    def _pause(self, shard: Shard, seconds: float) -> None:
        heapq.heappush(self._pausing, _Waiting(self._clock() + seconds, self._places[shard.name], shard))
