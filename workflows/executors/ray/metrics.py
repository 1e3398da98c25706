"""Prometheus metrics of an audit, through the metrics agent of each Ray node; tagged by stage, not by class."""

from __future__ import annotations

from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge, Histogram

from cawa_core.tables import Receipt
from workflows.running.execution import Failure, Outcome

SECONDS = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]


class Metrics:
    """Metrics of one run: shards by stage and outcome, their durations, shards waiting, and workers by state."""

    def __init__(self) -> None:
        self._shards = Counter(
            "cawa_shards", "shards by stage and outcome: finished, retried, quarantined", ("stage", "outcome")
        )
        self._seconds = Histogram("cawa_shard_seconds", "time of finished shards", SECONDS, ("stage",))
        self._waiting = Gauge("cawa_shards_waiting", "shards that no worker has started")
        self._workers = Gauge("cawa_workers", "workers by state: starting, idle, busy", ("state",))

    def count(self, outcome: Outcome) -> None:
        """Count a shard that finished, will be retried, or was quarantined."""
        if isinstance(outcome, Receipt):
            self._shards.inc(tags={"stage": outcome.stage, "outcome": "finished"})
            self._seconds.observe(max(outcome.seconds, 1e-3), tags={"stage": outcome.stage})
        else:
            kind = "quarantined" if isinstance(outcome, Failure) else "retried"
            self._shards.inc(tags={"stage": outcome.shard.analysis, "outcome": kind})

    def show(self, waiting: int, states: Sequence[str]) -> None:
        """Set the gauges: the number of waiting shards, and the state of each worker."""
        self._waiting.set(waiting)
        for state in ("starting", "idle", "busy"):
            self._workers.set(states.count(state), tags={"state": state})
