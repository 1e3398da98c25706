"""The longest first, failures again after a pause, and none forever."""

import pytest

from benchmarks.scheduling import SpotCluster, simulated
from workflows.executors.shard_queue import FIRST_PAUSE, LONGEST_PAUSE, MAX_ERRORS, MAX_LOSSES, ShardQueue
from workflows.planning.shards import Shard
from workflows.running.execution import Failure, Retry

SHARDS = [Shard("masking", (class_id,), cost=10.0 - class_id) for class_id in range(4)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_longest_go_first():
    queue = ShardQueue(SHARDS)
    assert [queue.take() for _ in range(5)] == [*SHARDS, None]
    assert len(queue) == 0


def test_a_failed_shard_comes_again_in_its_place_after_a_pause():
    clock = Clock()
    queue = ShardQueue(SHARDS, clock)
    first = queue.take()
    assert queue.raised(first, "boom") == Retry(first, "boom")
    assert len(queue) == 4
    assert queue.take() == SHARDS[1]
    clock.now = FIRST_PAUSE
    assert [queue.take() for _ in range(4)] == [first, SHARDS[2], SHARDS[3], None]


def test_nothing_is_due_while_all_pause():
    clock = Clock()
    queue = ShardQueue(SHARDS[:1], clock)
    queue.raised(queue.take(), "boom")
    assert (queue.take(), len(queue)) == (None, 1)


def test_what_always_raises_is_given_up():
    clock = Clock()
    queue = ShardQueue(SHARDS[:1], clock)
    outcomes = []
    for _ in range(MAX_ERRORS):
        outcomes.append(queue.raised(queue.take(), "boom"))
        clock.now += LONGEST_PAUSE
    assert [type(outcome) for outcome in outcomes] == [Retry] * (MAX_ERRORS - 1) + [Failure]
    assert len(queue) == 0


def test_lost_workers_count_apart_from_errors():
    """Two errors and as many losses as are borne: each kind has its own patience."""
    clock = Clock()
    queue = ShardQueue(SHARDS[:1], clock)
    for _ in range(MAX_ERRORS - 1):
        assert isinstance(queue.raised(queue.take(), "boom"), Retry)
        clock.now += LONGEST_PAUSE
    for _ in range(MAX_LOSSES - 1):
        assert isinstance(queue.lost(queue.take(), "gone"), Retry)
        clock.now += LONGEST_PAUSE
    assert isinstance(queue.lost(queue.take(), "gone"), Failure)


def test_pauses_double_and_end():
    clock, pauses = Clock(), []
    queue = ShardQueue(SHARDS[:1], clock)
    shard = queue.take()
    for _ in range(MAX_LOSSES - 1):
        queue.lost(shard, "gone")
        start = clock.now
        while (shard := queue.take()) is None:
            clock.now += 0.5
        pauses.append(clock.now - start)
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] <= LONGEST_PAUSE


@pytest.mark.parametrize("seed", range(5))
def test_spot_machines_are_kept_busy(seed):
    """64 machines, 5% of them preempted an hour, 1,000 classes; the model is in docs/cluster.md."""
    run = simulated(SpotCluster(), seed)
    assert run.efficiency >= 0.95
    assert (run.computed, run.given_up) == (2056, 0)
    assert run.preemptions > 0


def test_nothing_is_lost_where_machines_hardly_live():
    """Half of them vanish within an hour: many shards begin twice, none is given up or counted twice."""
    run = simulated(SpotCluster(preempted_an_hour=0.5), 0)
    assert (run.computed, run.given_up) == (2056, 0)
    assert run.preemptions > 50
