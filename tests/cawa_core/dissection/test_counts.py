"""Counts of units against concepts: equal to a plain count, whatever the batches, and to brute force by chance."""

import itertools

import numpy as np
import pytest
import torch

from cawa_core.dissection.activations import LARGEST, N_STEPS, SMALLEST, enlarged, steps, value_of
from cawa_core.dissection.counts import ChanceOverlap, JointCounts, intersection_over_union
from cawa_core.dissection.thresholds import SHARES, LevelTable, StepHistogram, information_quality_ratio
from cawa_core.errors import InputError

N, UNITS, CONCEPTS, SIDE = 12, 5, 3, 16


@pytest.fixture
def sample():
    """Features after a ReLU at a quarter of the images' side, and boolean masks."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(N, UNITS, 4, 4, generator=random).relu()
    features[:, 3] = 0  # a dead unit
    features[:, 4] = 1.5  # one that is always on
    masks = torch.rand(N, CONCEPTS, SIDE, SIDE, generator=random) < torch.tensor([0.5, 0.1, 0.0]).view(3, 1, 1)
    return features, masks


def table_of(features):
    histogram = StepHistogram(features.shape[1])
    for batch in features.split(5):
        histogram.add(enlarged(batch, SIDE))
    return histogram.candidates()


def test_steps_order_values_as_bfloat16_rounded_up():
    values = torch.tensor([0.0, -0.0, 1e-30, SMALLEST, 1.0, 1.00001, 1.0078125, 3.3, LARGEST, 1e9, float("inf")])
    places = steps(values).numpy()
    for value, place in zip(values.tolist(), places, strict=True):
        assert value_of(place) >= value
        assert place == 0 or value_of(place - 1) < value
    inside = value_of(np.arange(1, N_STEPS - 1))
    assert (inside[0], inside[-1], value_of(np.array(N_STEPS - 1))) == (SMALLEST, LARGEST, np.inf)
    assert torch.equal(torch.from_numpy(inside).bfloat16().float(), torch.from_numpy(inside))
    for bad in (-0.1, float("nan")):
        with pytest.raises(InputError, match="features after a ReLU"):
            steps(torch.tensor([1.0, bad]))


def test_candidates_leave_at_most_their_share_of_pixels_above(sample):
    features, _ = sample
    large = enlarged(features, SIDE)
    candidates = table_of(features)
    pixels = N * SIDE * SIDE
    for unit in range(UNITS):
        thresholds = value_of(candidates[unit])
        assert (np.diff(candidates[unit]) >= 0).all()
        for threshold, share in zip(thresholds, SHARES[::-1], strict=True):
            assert (large[:, unit] > threshold).sum() <= share * pixels
            if threshold > 0:  # the next lower one leaves more
                lower = float(value_of(steps(torch.tensor(threshold)).numpy() - 1))
                assert (large[:, unit] > lower).sum() > np.floor(share * pixels)
    assert (value_of(candidates[3]) == 0).all()


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_counts_equal_a_plain_count_whatever_the_batch(sample, batch):
    features, masks = sample
    candidates = table_of(features)
    table = LevelTable(candidates)
    counts = JointCounts(UNITS, len(SHARES), CONCEPTS)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(batch))
    for index in order.split(batch):
        for units in (slice(0, 2), slice(2, UNITS)):
            counts.add(table.levels(enlarged(features[index, units], SIDE), units), masks[index], units)
        counts.add_pixels(masks[index])
    on, both = counts.exceeding()
    large = enlarged(features, SIDE).numpy()
    for unit, threshold in itertools.product(range(UNITS), range(0, len(SHARES), 7)):
        above = large[:, unit] > value_of(candidates[unit, threshold])
        assert on[unit, threshold] == above.sum()
        for concept in range(CONCEPTS):
            assert both[unit, threshold, concept] == (above & masks[:, concept].numpy()).sum()
    assert counts.present.tolist() == masks.sum(dim=(0, 2, 3)).tolist()
    assert counts.pixels == masks[:, 0].numel()


def test_information_quality_is_one_for_equal_events_and_zero_for_independent_or_constant_ones():
    assert information_quality_ratio(np.array(20), np.array(20), np.array(20), 100) == pytest.approx(1)
    assert information_quality_ratio(np.array(50), np.array(20), np.array(10), 100) == pytest.approx(0, abs=1e-12)
    assert information_quality_ratio(np.array(0), np.array(20), np.array(0), 100) == 0
    assert information_quality_ratio(np.array(100), np.array(20), np.array(20), 100) == 0
    # on 30, present 20, both 15 of 100: from scikit-learn's mutual information and the joint entropy
    joint = np.array([0.15, 0.15, 0.05, 0.65])
    marginal = np.array([0.3, 0.3, 0.7, 0.7]) * np.array([0.2, 0.8, 0.2, 0.8])
    expected = (joint * np.log(joint / marginal)).sum() / -(joint * np.log(joint)).sum()
    assert information_quality_ratio(np.array(30), np.array(20), np.array(15), 100) == pytest.approx(expected)


def test_chance_equals_all_permutations(sample):
    features, masks = sample
    features, masks = features[:5], masks[:5]
    candidates = table_of(features)
    levels = LevelTable(candidates).levels(enlarged(features, SIDE))
    chosen = np.random.default_rng(1).integers(40, 90, size=(UNITS, CONCEPTS))
    chance = ChanceOverlap.none(UNITS, CONCEPTS)
    counted_on, both = chance.add(levels, masks, chosen)
    for unit, concept in itertools.product(range(UNITS), range(CONCEPTS)):
        on = levels[:, unit] > int(chosen[unit, concept])
        assert counted_on[unit, concept] == on.sum()
        assert both[unit, concept] == (on & masks[:, concept]).sum()
        overlaps = [
            sum(int((on[i] & masks[j, concept]).sum()) for i, j in enumerate(order))
            for order in itertools.permutations(range(5))
        ]
        assert chance.mean[unit, concept] == pytest.approx(np.mean(overlaps))
        assert chance.variance[unit, concept] == pytest.approx(np.var(overlaps), abs=1e-9)
        third_moment = np.mean((overlaps - np.mean(overlaps)) ** 3)
        assert chance.third_moment[unit, concept] == pytest.approx(third_moment, abs=1e-6)


def test_counts_are_exact_whatever_the_arithmetic_of_the_networks():
    """Under autocast, a product would count 513 pixels as 512."""
    levels = torch.ones(2, 1, 32, 32, dtype=torch.uint8)
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    masks.view(2, -1)[:, :513] = True
    chance = ChanceOverlap.none(1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        on, both = chance.add(levels, masks, np.zeros((1, 1), int))
    assert (int(on[0, 0]), int(both[0, 0]), float(chance.mean[0, 0])) == (2 * 32 * 32, 2 * 513, 2 * 513)


def test_intersection_over_union_of_nothing_is_unknown():
    np.testing.assert_array_equal(
        intersection_over_union(np.array([4, 0]), np.array([6, 0]), np.array([2, 0])), [0.25, np.nan]
    )
