"""How much of 64 spot machines' time goes into shards that count: the executor's queue, driven by a simulated clock.

The model: 1,000 classes; a class has one masking shard and one shard of class metrics, log-normal around six and two
minutes with a spread of a quarter, beside 56 awareness shards of half a minute. A machine is preempted at random, 5%
of them an hour; what it had in hand is lost, and a new one computes four minutes later. The first shards start after a
minute of loading. Efficiency is the time of all shards, each counted once, over machines times wall time.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator

import numpy as np

from benchmarks.results import Result
from workflows.executors.shard_queue import ShardQueue
from workflows.planning.shards import Shard
from workflows.running.execution import Failure


@dataclasses.dataclass(frozen=True)
class SpotCluster:
    """The model's numbers.

    Attributes:
        workers: machines of one worker each.
        preempted_an_hour: share of them that vanish in an hour.
        replaced_after: seconds until a new one computes.
        loading: seconds before the first shard.
        classes: how many.
        masking_seconds, metrics_seconds, spread: median durations of a class's shards, and their log-normal deviation.
        awareness_seconds, sites: duration of the awareness shard of a site.
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
    """How a run went.

    Attributes:
        efficiency: share of the machines' time in shards that count.
        hours: wall time.
        preemptions: machines lost with a shard in hand.
        computed: shards that were finished.
        given_up: shards lost for good.
    """

    efficiency: float
    hours: float
    preemptions: int
    computed: int
    given_up: int


def stub_shards(cluster: SpotCluster, random: np.random.Generator) -> dict[Shard, float]:
    """Shards with their true durations in seconds; planned by their medians, as an audit is, longest first."""
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
    """One run of the queue: events are ends of shards and of machines, in the order of their time."""
    random, now, ends = np.random.default_rng(seed), 0.0, [0.0]
    durations = stub_shards(cluster, random)
    queue = ShardQueue(sorted(durations, key=lambda shard: (-shard.cost, shard.name)), clock=lambda: now)
    hourly = -np.log(1 - cluster.preempted_an_hour)

    def lifetime() -> float:
        return float(random.exponential(3600 / hourly))

    free = [(cluster.loading, worker, cluster.loading + lifetime()) for worker in range(cluster.workers)]
    heapq.heapify(free)
    preemptions = computed = given_up = 0
    while queue:  # a shard that is lost is back in it at once, if not yet due
        now, worker, dies = heapq.heappop(free)
        shard = queue.take()
        if shard is None:
            heapq.heappush(free, (now + 1.0, worker, dies))
            continue
        end = now + durations[shard]
        if end <= dies:
            computed += 1
            ends.append(end)
            heapq.heappush(free, (end, worker, dies))
            continue
        preemptions, now = preemptions + 1, dies
        given_up += isinstance(queue.lost(shard, "preempted"), Failure)
        back = dies + cluster.replaced_after
        heapq.heappush(free, (back, worker, back + lifetime()))
    useful = sum(durations.values())
    return Simulated(float(useful / (cluster.workers * max(ends))), max(ends) / 3600, preemptions, computed, given_up)


def run() -> Iterator[Result]:
    """Twenty runs."""
    runs = [simulated(SpotCluster(), seed) for seed in range(20)]
    yield Result(
        "scheduling of 2,056 stub shards on 64 machines, 5% preempted an hour (simulated)",
        "machines that never wait and never vanish",
        tuple(one.efficiency for one in runs),
        at_least=0.95,
        unit="share of the machines' time",
        facts={"hours": float(np.median([one.hours for one in runs])), "preemptions": float(runs[0].preemptions)},
    )
