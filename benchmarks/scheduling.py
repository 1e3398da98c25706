"""Simulate the executor's queue on 64 spot machines: the share of their time that goes into useful shards.

Each of 1,000 classes has one masking shard and one shard of class metrics, with log-normal durations around six and two
minutes and a spread of a quarter; 56 awareness shards take half a minute each. Machines are preempted at random, 5% of
them per hour: the shard being computed is lost, and a new machine computes four minutes later. The first shards start
after one minute of loading. Efficiency is the time of all shards, each counted once, over machines times wall time.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator

import numpy as np

from benchmarks.results import Result
from workflows.executors.shard_queue import ShardQueue
from workflows.planning.sequence import in_sequence
from workflows.planning.shards import Shard
from workflows.running.execution import Failure


@dataclasses.dataclass(frozen=True)
class SpotCluster:
    """Numbers of the simulated cluster and its work.

    Attributes:
        workers: machines of one worker each.
        preempted_an_hour: share of the machines that are preempted per hour.
        replaced_after: seconds until a new machine computes.
        loading: seconds before the first shard.
        classes: number of classes.
        masking_seconds, metrics_seconds: median durations of the two shards of a class.
        spread: log-normal deviation of these durations.
        awareness_seconds: duration of the awareness shard of a site.
        sites: number of sites.
    """

    workers: int = 64
    preempted_an_hour: float = 0.05
    replaced_after: float = 240.0
    loading: float = 60.0
    classes: int = 1000
    masking_seconds: float = 360.0
    metrics_seconds: float = 120.0
    spread: float = 0.25
    awareness_seconds: float = 30.0
    sites: int = 56


@dataclasses.dataclass(frozen=True)
class Simulated:
    """Result of a simulated run.

    Attributes:
        efficiency: share of the machines' time that goes into useful shards.
        hours: wall time.
        preemptions: machines that were lost while they computed a shard.
        computed: number of finished shards.
        given_up: number of shards that the queue no longer retries.
    """

    efficiency: float
    hours: float
    preemptions: int
    computed: int
    given_up: int


def stub_shards(cluster: SpotCluster, random: np.random.Generator) -> dict[Shard, float]:
    """Draw the duration of each shard in seconds; its planned cost is the median, as in an audit."""
    durations: dict[Shard, float] = {}
    for stage, median in (("masking", cluster.masking_seconds), ("class_metrics", cluster.metrics_seconds)):
        for class_id in range(cluster.classes):
            seconds = median * np.exp(cluster.spread * random.standard_normal())
            durations[Shard(stage, (class_id,), cost=median)] = seconds
    for site in range(cluster.sites):
        shard = Shard("awareness", (0,), ((site,),), by_site=True, cost=cluster.awareness_seconds)
        durations[shard] = cluster.awareness_seconds
    return durations


def simulated(cluster: SpotCluster, seed: int) -> Simulated:
    """Run the queue once; the events are ends of shards and of machines, in the order of their times."""
    random = np.random.default_rng(seed)
    now = 0.0
    ends = [0.0]
    durations = stub_shards(cluster, random)
    queue = ShardQueue(in_sequence(list(durations), cluster.workers), clock=lambda: now)
    previous: dict[int, Shard] = {}
    hourly = -np.log(1 - cluster.preempted_an_hour)

    def lifetime() -> float:
        return float(random.exponential(3600 / hourly))

    free = [(cluster.loading, worker, cluster.loading + lifetime()) for worker in range(cluster.workers)]
    heapq.heapify(free)
    preemptions = computed = given_up = 0
    while queue:  # a lost shard returns to it at once, but may not be due yet
        now, worker, dies = heapq.heappop(free)
        shard = queue.take(previous.get(worker))
        if shard is None:
            heapq.heappush(free, (now + 1.0, worker, dies))
            continue
        end = now + durations[shard]
        if end <= dies:
            computed += 1
            previous[worker] = shard
            ends.append(end)
            heapq.heappush(free, (end, worker, dies))
            continue
        preemptions += 1
        now = dies
        previous.pop(worker, None)
        given_up += isinstance(queue.lost(shard, "preempted"), Failure)
        back = dies + cluster.replaced_after
        heapq.heappush(free, (back, worker, back + lifetime()))
    useful = sum(durations.values())
    return Simulated(float(useful / (cluster.workers * max(ends))), max(ends) / 3600, preemptions, computed, given_up)


def run() -> Iterator[Result]:
    """Simulate twenty runs."""
    runs = [simulated(SpotCluster(), seed) for seed in range(20)]
    yield Result(
        "scheduling of 2,056 stub shards on 64 machines, 5% preempted an hour (simulated)",
        "machines that never wait and never vanish",
        tuple(simulation.efficiency for simulation in runs),
        at_least=0.95,
        unit="share of the machines' time",
        facts={
            "hours": float(np.median([simulation.hours for simulation in runs])),
            "preemptions": float(runs[0].preemptions),
        },
    )
