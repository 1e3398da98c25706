"""The sequence of shards: overviews, then whole classes, spread over all."""

import itertools

import pytest

from workflows.options.run import RunOptions
from workflows.planning.sequence import expected_workers, in_sequence
from workflows.planning.shards import Shard

N_CLASSES = 100


def audit_of(n_classes):
    """Shards of an audit: a cheap analysis in blocks of 25 classes, and two expensive ones, one with two sites."""
    blocks = [tuple(range(first, min(first + 25, n_classes))) for first in range(0, n_classes, 25)]
    gallery = [Shard("gallery", block, cost=0.1 * len(block)) for block in blocks]
    metrics = [Shard("class_metrics", (class_id,), cost=2.0) for class_id in range(n_classes)]
    masking = [
        Shard("masking", (class_id,), ((site,),), by_site=True, cost=6.0 - site)
        for class_id in range(n_classes)
        for site in range(2)
    ]
    return [*gallery, *masking, *metrics]


def test_cheap_analyses_come_first_and_then_whole_classes():
    shards = in_sequence(audit_of(N_CLASSES), workers=1)

    assert set(shards) == set(audit_of(N_CLASSES))
    assert [shard.analysis for shard in shards[:4]] == ["gallery"] * 4
    rest = shards[4:]
    for start in range(0, len(rest), 3):
        of_a_class = rest[start : start + 3]
        assert len({shard.class_ids for shard in of_a_class}) == 1
        assert [shard.cost for shard in of_a_class] == [6.0, 5.0, 2.0]


def test_the_first_classes_are_spread_over_all():
    """Whenever an audit stops, no stretch of the list much longer than the average lacks results."""
    shards = [shard for shard in in_sequence(audit_of(N_CLASSES), workers=1) if shard.analysis == "class_metrics"]
    class_ids = [shard.class_ids[0] for shard in shards]
    for n_done in (5, 10, 30, 70):
        places = sorted([-1, *class_ids[:n_done], N_CLASSES])
        longest = max(later - earlier for earlier, later in itertools.pairwise(places))
        assert longest <= 4 * N_CLASSES / n_done


def test_as_many_classes_at_a_time_as_workers_and_the_longest_first_at_the_end():
    shards = in_sequence(audit_of(N_CLASSES), workers=8)
    turns = sorted({shard.turn for shard in shards if shard.analysis != "gallery"})
    classes = [{shard.class_ids[0] for shard in shards if shard.turn == turn} for turn in turns]
    assert [len(turn) for turn in classes] == [8] * 8 + [36]
    costs = [shard.cost for shard in shards if shard.turn == turns[-1]]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("workers", [1, 64])
def test_an_audit_of_few_classes_keeps_every_worker_busy(workers):
    shards = in_sequence(audit_of(3), workers)
    costs = [shard.cost for shard in shards if shard.analysis != "gallery"]
    assert (costs == sorted(costs, reverse=True)) == (workers > 1)
    assert in_sequence([], workers) == []


def test_an_analysis_without_others_goes_class_by_class():
    shards = [shard for shard in audit_of(8) if shard.analysis == "masking"]
    assert [shard.class_ids[0] for shard in in_sequence(shards, 1)][::2] == [0, 4, 2, 6, 1, 5, 3, 7]


def test_workers_as_far_as_they_are_known(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert expected_workers(RunOptions(executor="inline", workers=3)) == 1
    assert expected_workers(RunOptions(executor="ray", workers=3)) == 3
    assert expected_workers(RunOptions(executor="ray")) == 6
