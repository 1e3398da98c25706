"""Scores of mixtures against the networks by hand; the best of some; what is tried."""

import numpy as np
import pytest
import torch

from cawa_core.class_metrics.realism import RealManifold
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.hybrids.hybridisation import channel_mixing, style_mixing
from cawa_core.hybrids.mixtures import (
    Mixture,
    MixtureJudge,
    MixtureScores,
    channel_mixtures,
    pictures_of_each,
    style_mixtures,
)
from cawa_core.interventions import run

PAIR = (1, 2)


def mixed(generator, z, changes):
    return run(generator, z, class_ids_of(PAIR[0], z), changes)


@pytest.fixture
def z(tiny_generator):
    return tiny_generator.sample_latents(0, 1, range(5))


def judge_of(generator, evaluator, **fields):
    return MixtureJudge(generator, evaluator, PAIR, batch_size=2, **fields)


def test_a_mixture_is_channels_or_else_style(tiny_generator, z):
    transplants = {1: (0, 3), 4: (2,)}
    channels = Mixture(1, transplants).images(tiny_generator, z, PAIR)
    assert torch.equal(channels, mixed(tiny_generator, z, channel_mixing(PAIR[1], transplants)))
    assert torch.equal(Mixture(3).images(tiny_generator, z, PAIR), mixed(tiny_generator, z, style_mixing(PAIR[1], 3)))


def test_many_at_once_are_each_alone(generator):
    """Also where transplants at a later site follow, and whatever the order."""
    z = generator.sample_latents(0, 1, range(3))
    last = len(generator.sites) - 1
    mixtures = [
        Mixture(last, {last: (0, 1)}),
        Mixture(last),
        Mixture(1, {1: (2,), last: (0,)}),
        *style_mixtures(generator),
    ]
    found = dict(pictures_of_each(generator, z, PAIR, mixtures))
    assert set(found) == set(range(len(mixtures)))
    for place, one in enumerate(mixtures):
        assert torch.equal(found[place], one.images(generator, z, PAIR))


def test_probabilities_are_the_evaluator_s(tiny_generator, tiny_evaluator, z):
    found = judge_of(tiny_generator, tiny_evaluator).scores_of({"x": Mixture(3)}, z)["x"]
    with torch.inference_mode():
        seen = tiny_evaluator.log_probabilities(mixed(tiny_generator, z, style_mixing(PAIR[1], 3))).exp().numpy()
    np.testing.assert_allclose(found.input_probability, seen[:, 1], rtol=1e-5)
    np.testing.assert_allclose(found.reference_probability, seen[:, 2], rtol=1e-5)
    np.testing.assert_array_equal(found.predicted, seen.argmax(axis=1))
    assert found.realism is None
    np.testing.assert_array_equal(found.harmony, found.balance)
    assert set(found.measures()) == {"input_probability", "reference_probability", "balance", "harmony"}


def test_the_images_that_are_scored_are_observed_in_batches(tiny_generator, tiny_evaluator, z):
    mixtures = {"input": Mixture(len(tiny_generator.sites)), "mixed": Mixture(3)}
    batches = []
    judge_of(tiny_generator, tiny_evaluator).scores_of(mixtures, z, batches.append)
    assert [len(batch["mixed"]) for batch in batches] == [2, 2, 1]
    images = torch.cat([batch["mixed"] for batch in batches])
    with torch.inference_mode():
        expected = torch.cat([mixed(tiny_generator, rows, style_mixing(PAIR[1], 3)) for rows in z.split(2)])
    assert torch.equal(images, expected)


def test_realism_is_that_of_the_manifold(tiny_generator, tiny_evaluator, z):
    with torch.inference_mode():
        seen = tiny_evaluator.features(tiny_generator(z, torch.ones(5, dtype=torch.int64)))
        near = tiny_evaluator.features(mixed(tiny_generator, z, style_mixing(PAIR[1], 2)))
    reals = RealManifold.of(seen, 2)
    judge = judge_of(tiny_generator, tiny_evaluator, features=tiny_evaluator, real_manifold=reals)
    found = judge.scores_of({"x": Mixture(2)}, z)["x"]
    np.testing.assert_allclose(found.realism, reals.realism(near).numpy(), rtol=1e-4)
    np.testing.assert_array_equal(found.harmony, found.balance * found.realism)


def test_balance_is_one_where_both_are_a_half():
    found = MixtureScores(np.array([0.5, 1.0, 0.25]), np.array([0.5, 0.0, 0.25]), None, np.array([1, 1, 3]))
    np.testing.assert_allclose(found.balance, [1, 0, 0.25])


def test_the_best_has_the_largest_mean_harmony(tiny_generator, tiny_evaluator, z):
    judge, tried = judge_of(tiny_generator, tiny_evaluator), style_mixtures(tiny_generator)
    means = [judge.scores_of({"x": one}, z)["x"].harmony.mean() for one in tried]
    assert judge.sweep(tried, z).best is tried[int(np.argmax(means))]
    assert len(set(means)) > 1


def test_a_sweep_keeps_the_mean_scores_of_all(tiny_generator, tiny_evaluator, z):
    with torch.inference_mode():
        reals = RealManifold.of(tiny_evaluator.features(tiny_generator(z, torch.ones(5, dtype=torch.int64))), 2)
    counts = []
    judge = judge_of(
        tiny_generator, tiny_evaluator, features=tiny_evaluator, real_manifold=reals, progress=counts.append
    )
    tried = [*style_mixtures(tiny_generator), Mixture(1, {1: (0, 3)})]
    sweep = judge.sweep(tried, z)
    assert sum(counts) == len(tried) * len(z)
    assert sweep.mixtures == tuple(tried)
    for one, means, predicted in zip(tried, sweep.means(), sweep.predicted, strict=True):
        np.testing.assert_array_equal(predicted, judge.scores_of({"x": one}, z)["x"].predicted)
        expected = {name: values.mean() for name, values in judge.scores_of({"x": one}, z)["x"].measures().items()}
        assert means == pytest.approx(expected, rel=1e-5)
        assert set(means) == {"input_probability", "reference_probability", "balance", "realism", "harmony"}


def test_each_site_and_share_is_tried_or_what_is_given(tiny_generator):
    orders = {site.index: np.arange(site.channels) for site in tiny_generator.sites}
    every = channel_mixtures(tiny_generator, orders.__getitem__)
    assert [one.first_site for one in every] == sorted(one.first_site for one in every)
    assert {one.first_site for one in every} == set(orders)
    for one in every:
        ((site, channels),) = one.transplants.items()
        assert channels == tuple(range(len(orders[site]) - len(channels), len(orders[site])))
    (together,) = channel_mixtures(tiny_generator, orders.__getitem__, (4, 1), (2,))
    assert (together.first_site, set(together.transplants)) == (1, {1, 4})
    assert all(len(channels) == 2 for channels in together.transplants.values())
    assert [one.first_site for one in style_mixtures(tiny_generator)] == list(range(1, len(orders)))
    assert style_mixtures(tiny_generator, (4, 1)) == [Mixture(2)]
    assert style_mixtures(tiny_generator, (5,)) == [Mixture(5)]  # from after the last there would be nothing to mix


@pytest.mark.parametrize("mixtures", [[], [Mixture(0)], [Mixture(6)], [Mixture(6, {6: (0,)})]])
def test_there_must_be_something_to_choose_from(tiny_generator, tiny_evaluator, z, mixtures):
    with pytest.raises(InputError, match="mixtures must"):
        judge_of(tiny_generator, tiny_evaluator).sweep(mixtures, z)


@pytest.mark.parametrize(("sites", "numbers"), [((6,), ()), ((1, 1), ()), ((), (0,)), ((0, 5), (7,))])
def test_channels_that_are_not_there(tiny_generator, sites, numbers):
    orders = {site.index: np.arange(site.channels) for site in tiny_generator.sites}
    with pytest.raises(InputError):
        channel_mixtures(tiny_generator, orders.__getitem__, sites, numbers)
