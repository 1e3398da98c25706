"""In their turns, failures again after a pause, one bad class alone, and none forever."""

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


def test_shards_go_in_the_given_order():
    queue = ShardQueue(SHARDS)
    assert [queue.take() for _ in range(5)] == [*SHARDS, None]
    assert len(queue) == 0


def test_a_worker_stays_with_its_class_within_a_turn_but_not_in_the_last():
    first, other, second, later, last, end = shards = [
        Shard("masking", (1,), turn=0),
        Shard("masking", (2,), turn=0),
        Shard("edits", (1,), turn=0),
        Shard("hybrids", (1,), turn=1),
        Shard("masking", (3,), turn=2),
        Shard("edits", (1,), ((4,),), turn=2),
    ]
    queue = ShardQueue(shards)
    assert queue.take() == first
    assert queue.take(first) == second
    assert queue.take(second) == other
    assert [queue.take(second), queue.take(later), queue.take(later)] == [later, last, end]


def test_classes_of_a_shard_that_raised_come_again_one_by_one():
    clock = Clock()
    block = Shard("gallery", (3, 5, 9), cost=6.0, turn=1)
    queue = ShardQueue([block, Shard("masking", (3,), turn=2)], clock)
    retry = queue.raised(queue.take(), "boom")
    assert retry.parts == (Shard("gallery", (3,)), Shard("gallery", (5,)), Shard("gallery", (9,)))
    assert [(part.cost, part.turn) for part in retry.parts] == [(2.0, 1)] * 3
    clock.now = FIRST_PAUSE
    assert tuple(queue.take() for _ in range(3)) == retry.parts
    outcomes = []
    for _ in range(MAX_ERRORS):
        outcomes.append(queue.raised(retry.parts[1], "boom"))
    assert outcomes[-1] == Failure(retry.parts[1], "boom")


def test_classes_of_a_shard_that_lost_every_worker_come_again_one_by_one():
    clock = Clock()
    block = Shard("gallery", (3, 5))
    queue = ShardQueue([block], clock)
    for _ in range(MAX_LOSSES):
        retry = queue.lost(queue.take(), "gone")
        clock.now += LONGEST_PAUSE
    assert [queue.take() for _ in range(3)] == [*retry.parts, None]
    assert [part.class_ids for part in retry.parts] == [(3,), (5,)]


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
