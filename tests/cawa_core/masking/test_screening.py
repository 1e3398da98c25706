import pytest
import torch

from cawa_core.generators.base import class_ids_of
from cawa_core.generators.modules import ModuleGenerator
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.masking.screening import KEPT_VALUES, screened

N, CLASS = 5, 2


def log_odds_of_scaled(generator, evaluator, z, site, channel, factor):
    """Log-odds with one channel's features multiplied by a factor, ``[n]``."""
    with torch.inference_mode():
        state = generator.run_to(site, z, class_ids_of(CLASS, z))
        features = state.features.clone()
        features[:, channel] *= factor
        scores = evaluator.log_probabilities(generator.run_from(site, state.with_features(features)))
    others = scores.clone()
    others[:, CLASS] = -torch.inf
    return scores[:, CLASS] - others.logsumexp(dim=1)


def test_a_site_that_does_not_reach_the_image_has_no_rate(bundled_generator, bundled_evaluator, monkeypatch):
    whole = type(bundled_generator).features_and_images

    def with_a_branch(self, z, class_ids):
        features, images = whole(self, z, class_ids)
        return [*features[:-1], features[-1].detach().requires_grad_()], images

    monkeypatch.setattr(type(bundled_generator), "features_and_images", with_a_branch)
    z = bundled_generator.sample_latents(0, CLASS, range(N))
    rates = screened(bundled_generator, bundled_evaluator, z, CLASS, N).rates
    assert not rates[-1].any()
    assert rates[0].any()


@pytest.mark.parametrize("site", range(6))
def test_rates_are_derivatives_by_a_channels_scale(bundled_generator, bundled_evaluator, site):
    """Against central differences; float32 and kinks of the ReLUs leave a few percent."""
    z, step, channels = bundled_generator.sample_latents(0, CLASS, range(N)), 2e-3, range(8)
    found = screened(bundled_generator, bundled_evaluator, z, CLASS, 3)
    assert [tuple(rates.shape) for rates in found.rates] == [(N, one.channels) for one in bundled_generator.sites]

    def log_odds(channel, factor):
        return log_odds_of_scaled(bundled_generator, bundled_evaluator, z, site, channel, factor)

    expected = torch.stack([log_odds(one, 1 + step) - log_odds(one, 1 - step) for one in channels], dim=1) / (2 * step)
    largest = float(expected.abs().max())
    assert largest > 0.05
    torch.testing.assert_close(found.rates[site][:, :8].double(), expected, atol=0.03 * largest, rtol=0.03)


def test_groups_add_up_and_an_empty_mask_changes_nothing(tiny_generator, tiny_evaluator):
    z = tiny_generator.sample_latents(0, CLASS, range(N))
    found = screened(tiny_generator, tiny_evaluator, z, CLASS, N)
    scores = found.log_scores(1, [(), (0,), (0, 3)])
    assert torch.equal(scores[0], found.unmasked)
    torch.testing.assert_close(
        scores[2], torch.nn.functional.logsigmoid(found.log_odds - found.rates[1][:, [0, 3]].double().sum(dim=1))
    )
    with torch.inference_mode():
        images = tiny_generator(z, class_ids_of(CLASS, z))
        expected = tiny_evaluator.log_probabilities(images)[:, CLASS]
    torch.testing.assert_close(found.unmasked, expected, atol=1e-5, rtol=1e-5)


def test_the_batch_size_changes_rounding_only(bundled_generator, bundled_evaluator):
    z = bundled_generator.sample_latents(0, CLASS, range(9))
    one, other = (screened(bundled_generator, bundled_evaluator, z, CLASS, size) for size in (2, 9))
    for first, second in zip(one.rates, other.rates, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)


def test_large_features_are_screened_few_at_a_time(tiny_generator, tiny_evaluator, monkeypatch):
    seen = []
    whole = type(tiny_generator).features_and_images
    monkeypatch.setattr(
        type(tiny_generator), "features_and_images", lambda self, z, ids: seen.append(len(z)) or whole(self, z, ids)
    )
    values = sum(site.channels * site.resolution**2 for site in tiny_generator.sites)
    monkeypatch.setattr("cawa_core.masking.screening.KEPT_VALUES", 2 * values)
    screened(tiny_generator, tiny_evaluator, tiny_generator.sample_latents(0, 0, range(5)), 0, 32)
    assert seen == [2, 2, 1]
    assert 2 * values < KEPT_VALUES


def test_a_module_of_the_users_is_screened_alike(tiny_generator, tiny_evaluator):
    module = ModuleGenerator(tiny_generator.network, tiny_generator.z_dim, FashionBigGAN.classes)
    z = tiny_generator.sample_latents(0, CLASS, range(N))
    one, other = (screened(generator, tiny_evaluator, z, CLASS, N) for generator in (tiny_generator, module))
    for first, second in zip(one.rates, other.rates, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)
