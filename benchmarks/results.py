"""One measured ratio: our code and its counterpart, timed alternately in the same run."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Result:
    """Ratio of the cost of a counterpart to the cost of our code for the same work.

    Attributes:
        work: name of the work.
        counterpart: name of what it is compared with.
        ratios: cost of the counterpart over ours, one per repeat.
        at_least: goal of the ratio; None if it has no goal.
        unit: quantity that the ratio compares.
        seconds: median time of our code; None if no time was measured.
        counterpart_seconds: median time of the counterpart, after any extrapolation.
        facts: other measured figures by name; the name includes the unit.
        bounds: measured and largest allowed value by name; the name includes the unit.
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
        """Median ratio of the repeats."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        """Whether the ratio reaches its goal and every bound holds."""
        fast_enough = self.at_least is None or self.ratio >= self.at_least
        return fast_enough and all(measured <= limit for measured, limit in self.bounds.values())

    def as_data(self) -> dict[str, Any]:
        """Return data for JSON, with the median ratio, its spread and whether the goals are reached."""
        spread = {"ratio": self.ratio, "ratio_min": min(self.ratios), "ratio_max": max(self.ratios)}
        return dataclasses.asdict(self) | spread | {"reached": self.reached}


def seconds_of(work: Callable[[], object]) -> float:
    """Measure the wall time of one call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(
    work: str,
    counterpart: str,
    fast: Callable[[], object],
    naive: Callable[[], object],
    *,
    at_least: float | None = None,
    repeats: int = 5,
    warm_up: bool = True,
    counterpart_scale: float = 1.0,
    facts: Mapping[str, float] | None = None,
) -> Result:
    """Time our code and its counterpart alternately, after one untimed call of each.

    Args:
        work, counterpart: names of both.
        fast, naive: our code and its counterpart; one call does the whole work.
        at_least: goal of the ratio.
        repeats: number of pairs of timed calls.
        warm_up: whether to call both once without timing them.
        counterpart_scale: size of the whole work over the part that ``naive`` does.
        facts: see :class:`Result`.
    """
    if warm_up:
        fast()
        naive()
    pairs = [(seconds_of(naive) * counterpart_scale, seconds_of(fast)) for _ in range(repeats)]
    return Result(
        work,
        counterpart,
        tuple(naive_seconds / fast_seconds for naive_seconds, fast_seconds in pairs),
        at_least,
        seconds=statistics.median(fast_seconds for _, fast_seconds in pairs),
        counterpart_seconds=statistics.median(naive_seconds for naive_seconds, _ in pairs),
        facts=facts or {},
    )
