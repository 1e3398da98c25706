"""Which shard is next, and how often one may fail: the policy of every executor with workers of its own."""

from __future__ import annotations

import dataclasses
import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence

from workflows.execution import Failure, Retry
from workflows.shards import Shard

MAX_ERRORS, MAX_LOSSES = 3, 5
"""A shard is given up when it has raised so often, or has been in the hands of so many workers that were lost: a spot
machine may vanish under any shard, but a shard under which all vanish is what kills them."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a shard is tried again; twice as long each time."""


@dataclasses.dataclass(order=True, frozen=True)
class _Waiting:
    due: float
    place: int
    shard: Shard = dataclasses.field(compare=False)


class ShardQueue:
    """Shards that nobody has in hand, the longest first.

    Args:
        shards: all, in the order in which they are to start.
        clock: seconds, for pauses.
    """

    def __init__(self, shards: Sequence[Shard], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places = {shard.name: place for place, shard in enumerate(shards)}
        self._ready = [_Waiting(0.0, place, shard) for place, shard in enumerate(shards)]
        self._pausing: list[_Waiting] = []
        self.errors: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many wait, pausing ones included."""
        return len(self._ready) + len(self._pausing)

    def take(self) -> Shard | None:
        """The longest shard that is due; none where all pause, or nothing is left."""
        while self._pausing and self._pausing[0].due <= self._clock():
            due = heapq.heappop(self._pausing)
            heapq.heappush(self._ready, _Waiting(0.0, due.place, due.shard))
        return heapq.heappop(self._ready).shard if self._ready else None

    def raised(self, shard: Shard, error: str) -> Retry | Failure:
        """A shard raised: it goes back after a pause, or is given up."""
        self.errors[shard.name] += 1
        return self._again(shard, error, self.errors[shard.name], MAX_ERRORS)

    def lost(self, shard: Shard, error: str) -> Retry | Failure:
        """The worker that had a shard is gone: the same, with more patience."""
        self.losses[shard.name] += 1
        return self._again(shard, error, self.losses[shard.name], MAX_LOSSES)

    def _again(self, shard: Shard, error: str, count: int, most: int) -> Retry | Failure:
        if count >= most:
            return Failure(shard, error)
        pause = min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)
        heapq.heappush(self._pausing, _Waiting(self._clock() + pause, self._places[shard.name], shard))
        return Retry(shard, error)
