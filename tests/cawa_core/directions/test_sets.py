"""Controlling sets of linear scores, whose best weights are known; SeFa and GANSpace on planted directions."""

import numpy as np
import pytest
import torch

from cawa_core.directions.baselines import ganspace_directions, sefa_directions
from cawa_core.directions.direction import unit
from cawa_core.directions.sets import best_of, bottom_set, optimised_sets, random_set, sequential_set, set_sizes, sparse
from cawa_core.generators.base import AffineMap, Modulation, Site
from cawa_core.latents.dimensions import DimensionUnits

EFFECT = np.array([0.1, -3.0, 0.0, 2.0, 0.2, 0.05])


def linear(effect):
    """Return the change of a linear score after a step along each set."""
    return lambda sets: (sets.double() @ torch.from_numpy(effect)).numpy()


def test_a_sequential_set_is_the_smallest_that_has_most_of_the_effect():
    chosen = sequential_set(EFFECT, np.full(6, 0.01), linear(EFFECT))
    assert set(chosen.nonzero()[:, 0].tolist()) == {1, 3}
    np.testing.assert_allclose(chosen[[1, 3]], np.array([-3, 2]) / np.hypot(3, 2), rtol=1e-6)
    assert sequential_set(EFFECT, np.full(6, 0.01), linear(EFFECT), share=0.8).count_nonzero() == 1
    assert sequential_set(EFFECT, np.full(6, 0.01), linear(EFFECT), share=1.0).count_nonzero() == 5


def test_only_significant_dimensions_enter_and_without_any_the_set_is_empty():
    q_value = np.array([0.01, 0.2, np.nan, 0.05, 0.01, 1])
    chosen = sequential_set(EFFECT, q_value, linear(EFFECT), share=1.0)
    assert set(chosen.nonzero()[:, 0].tolist()) == {0, 3, 4}
    assert not sequential_set(EFFECT, np.full(6, 0.06), linear(EFFECT)).any()


def test_sizes_end_with_all_dimensions():
    for count in (1, 2, 7, 64):
        sizes = set_sizes(count)
        assert sizes[-1] == count
        assert sizes == sorted(set(sizes))


def test_an_optimised_set_solves_the_penalised_problem():
    """For a linear score, the maximiser of w·g - λ|w|₁ on the sphere is known up to numerical search."""
    derivative = torch.tensor([0.1, -3.0, 0.0, 2.0, 1.6, 0.05])
    (weights,) = optimised_sets(lambda sets, step: derivative[None], 1, 6, 3)  # noqa: ARG005
    threshold = 0.5 * 3.0

    def objective(w):
        return w @ derivative - threshold * w.abs().sum(dim=-1)

    generator = torch.Generator().manual_seed(0)
    tried = unit(torch.randn(20_000, 6, generator=generator) * (torch.rand(20_000, 6, generator=generator) < 0.5))
    assert objective(weights) >= objective(tried).max() - 1e-6
    assert set(weights.nonzero()[:, 0].tolist()) == {1, 3, 4}


def test_optimisation_follows_a_curved_score_beyond_its_first_derivative():
    """A score that saturates in its first dimension and grows in its second ends on the second."""

    def derivatives(weights, step):
        first, second = weights[0, 0], weights[0, 1]
        return torch.stack([torch.exp(-6 * first), 0.3 + second])[None]

    start = sparse(derivatives(torch.zeros(1, 2), 0))
    (weights,) = optimised_sets(derivatives, 1, 2, 12)
    assert start[0, 0] > start[0, 1]
    assert weights[1] > weights[0]


def test_concepts_without_derivatives_have_empty_sets():
    sets = optimised_sets(lambda sets, step: torch.full((2, 3), torch.nan), 2, 3, 2)  # noqa: ARG005
    assert not sets.any()


def test_bottom_and_random_sets_have_the_size_and_norm_1():
    bottom = bottom_set(EFFECT, 3, range(6))
    assert set(bottom.nonzero()[:, 0].tolist()) <= {0, 2, 5}
    assert bottom.norm() == pytest.approx(1)
    assert bottom_set(np.zeros(4), 2, [1, 3]).nonzero()[:, 0].tolist() == [1, 3]
    chance = random_set(10, 4, np.random.default_rng(0))
    assert chance.count_nonzero() == 4
    drawn = random_set(10, 2, np.random.default_rng(0), [3, 7])
    assert drawn.nonzero()[:, 0].tolist() == [3, 7]
    assert chance.norm() == pytest.approx(1)


def test_an_unknown_change_is_never_the_best():
    assert best_of(list(torch.eye(2)), np.array([[np.nan, 0.1], [np.nan, -0.1]])).tolist() == [0, 1]


def test_the_best_direction_may_be_against_one():
    directions = torch.eye(3)
    changes = np.array([[0.1, 0.3, -0.2], [-0.1, -0.3, 0.9]])
    assert best_of(list(directions), changes).tolist() == [0, 0, -1]


class Modulated:
    """A generator's sites and modulation, as far as SeFa reads them."""

    def __init__(self, *modulations):
        self.modulations = modulations
        self.sites = tuple(Site(index, "", len(each.gain.constant), 1) for index, each in enumerate(modulations))

    def modulation(self, site):
        return self.modulations[site]


def test_sefa_finds_the_direction_that_most_channels_read():
    generator = torch.Generator().manual_seed(0)
    planted = unit(torch.randn(12, generator=generator))
    modulations = []
    for _ in range(2):
        rows = torch.randn(40, 1, generator=generator) * planted + 0.1 * torch.randn(40, 12, generator=generator)
        affine = AffineMap(torch.zeros(40), torch.zeros(40, 5), rows)
        modulations.append(Modulation(affine, affine))
    units = DimensionUnits(1.0, torch.zeros(5), torch.ones(5))
    directions = sefa_directions(Modulated(*modulations), "latent", units, 3)
    assert abs(float(directions[0] @ planted)) > 0.98
    torch.testing.assert_close(directions @ directions.T, torch.eye(3), atol=1e-5, rtol=0)
    assert all(row[row.abs().argmax()] > 0 for row in directions)


def test_sefa_is_the_leading_eigenvectors_of_normalised_rows():
    generator = torch.Generator().manual_seed(1)
    parts = [
        AffineMap(torch.zeros(6), torch.randn(6, 4, generator=generator), torch.randn(6, 5, generator=generator))
        for _ in range(2)
    ]
    deviation = torch.tensor([1.0, 2.0, 0.5, 1.0])
    units = DimensionUnits(1.0, torch.zeros(4), deviation)
    for space, rows in (
        ("latent", [part.from_latent for part in parts]),
        ("embedding", [part.from_class * deviation for part in parts]),
    ):
        stacked = torch.cat(rows).double().numpy()
        stacked /= np.linalg.norm(stacked, axis=1, keepdims=True)
        expected = np.linalg.svd(stacked)[2]
        directions = sefa_directions(Modulated(Modulation(*parts)), space, units, 2).numpy()
        np.testing.assert_allclose(np.abs((directions * expected[:2]).sum(axis=1)), 1, atol=1e-5)


def test_ganspace_finds_the_latent_direction_behind_the_largest_component():
    generator = torch.Generator().manual_seed(0)
    planted = unit(torch.randn(2, 10, generator=generator))
    z = torch.randn(300, 10, generator=generator)
    patterns = torch.randn(2, 3 * 4 * 4, generator=generator)
    features = (z @ planted.T * torch.tensor([5.0, 1.0])) @ patterns
    features = features.reshape(300, 3, 4, 4) + 0.1 * torch.randn(300, 3, 4, 4, generator=generator)
    classes = features[:150], features[150:] + 100  # the difference of classes is no component
    directions = ganspace_directions(classes, z, 2)
    assert abs(float(directions[0] @ planted[0])) > 0.95
    assert directions.norm(dim=1).tolist() == pytest.approx([1, 1])
