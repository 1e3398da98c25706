"""One measured ratio: interleaved repeats of our code and its counterpart in the same run."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Result:
    """How many times cheaper some work is than by its counterpart.

    Attributes:
        work: what was done.
        counterpart: what it was compared with.
        ratios: counterpart over ours, one a repeat.
        at_least: the ratio we hold ourselves to; None where there is none.
        unit: what the ratio is of.
        seconds: ours, median; None where no time was taken.
        counterpart_seconds: the same of the counterpart, after any extrapolation.
        facts: other measured figures by name, with their units.
        bounds: name => (measured, largest allowed), with their units in the name.
    """

    work: str
    counterpart: str
    ratios: tuple[float, ...]
    at_least: float | None = None
    unit: str = "wall time"
    seconds: float | None = None
    counterpart_seconds: float | None = None
    facts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Median over the repeats."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        """Whether ratio and bounds are what we hold ourselves to."""
        fast_enough = self.at_least is None or self.ratio >= self.at_least
        return fast_enough and all(measured <= limit for measured, limit in self.bounds.values())

    def as_data(self) -> dict[str, Any]:
        """Plain JSON-able data, with the median, its spread and whether it was reached."""
        spread = {"ratio": self.ratio, "ratio_min": min(self.ratios), "ratio_max": max(self.ratios)}
        return dataclasses.asdict(self) | spread | {"reached": self.reached}


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(
    work: str,
    counterpart: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    at_least: float | None = None,
    repeats: int = 5,
    warm_up: bool = True,
    counterpart_scale: float = 1.0,
    facts: Mapping[str, float] | None = None,
) -> Result:
    """Time both in turn, ``repeats`` times, after one untimed call of each.

    Args:
        work, counterpart: what both are, in words.
        ours, theirs: one call does the whole work.
        at_least: the ratio we hold ourselves to.
        repeats: pairs of timed calls.
        warm_up: whether to call both once before.
        counterpart_scale: where ``theirs`` does a timed sample of the work only: the whole over that sample.
        facts: see :class:`Result`.
    """
    if warm_up:
        ours(), theirs()
    pairs = [(seconds_of(theirs) * counterpart_scale, seconds_of(ours)) for _ in range(repeats)]
    return Result(
        work,
        counterpart,
        tuple(naive / fast for naive, fast in pairs),
        at_least,
        seconds=statistics.median(fast for _, fast in pairs),
        counterpart_seconds=statistics.median(naive for naive, _ in pairs),
        facts=facts or {},
    )
