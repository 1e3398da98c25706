import numpy as np
import pytest
import torch

from cawa_core.interventions import masks_at, run
from cawa_core.masking.effects import masking_effects
from cawa_core.masking.engine import MaskingEngine, log_scores
from cawa_core.masking.groups import awareness_order, consecutive_groups, control_masks
from cawa_core.numerics.batch_size import BatchSize
from tests.reference.hooked_masking import hooked_images

N = 7


def scores(generator, evaluator, site, masks, batch_size=3):
    z = generator.sample_latents(0, 2, range(N))
    return MaskingEngine(generator, evaluator, BatchSize(batch_size)).site_log_scores(z, 2, site, masks)


@pytest.mark.parametrize("site", range(6))
def test_masking_nothing_changes_nothing(tiny_generator, tiny_evaluator, site):
    unmasked, masked = scores(tiny_generator, tiny_evaluator, site, [(), ()])
    assert np.array_equal(masked, np.stack([unmasked, unmasked]))
    assert all(not column.any() for column in masking_effects(unmasked, masked).values())


@pytest.mark.parametrize("site", range(6))
def test_the_engine_equals_a_hook_and_a_whole_pass(bundled_generator, bundled_evaluator, site):
    """Float32 rounding only: the log-probability of images that agree to 2e-5."""
    z = bundled_generator.sample_latents(0, 2, range(N))
    masks = [(1,), (0, 3, 40), tuple(range(bundled_generator.sites[site].channels))]
    engine = MaskingEngine(bundled_generator, bundled_evaluator, BatchSize(4))
    unmasked, masked = engine.site_log_scores(z, 2, site, masks)
    for mask, row in zip([(), *masks], [unmasked, *masked], strict=True):
        images = hooked_images(bundled_generator, z, 2, site, mask)
        expected = log_scores(bundled_evaluator, images, 2).numpy()
        np.testing.assert_allclose(row, expected, atol=2e-4, rtol=1e-4)
    assert np.abs(masked[2] - unmasked).max() > 0.1


def test_the_batch_size_changes_rounding_only(bundled_generator, bundled_evaluator):
    z = bundled_generator.sample_latents(0, 4, range(20))
    masks = [(0,), (5,), (17,)]
    results = [
        MaskingEngine(bundled_generator, bundled_evaluator, BatchSize(size)).site_log_scores(z, 4, 1, masks)
        for size in (1, 16, 100)
    ]
    for unmasked, masked in results[1:]:
        np.testing.assert_allclose(np.exp(unmasked), np.exp(results[0][0]), atol=1e-5)
        np.testing.assert_allclose(np.exp(masked), np.exp(results[0][1]), atol=1e-5)


def test_a_mask_at_one_site_is_the_same_by_both_roads(tiny_generator, tiny_evaluator):
    z = tiny_generator.sample_latents(0, 2, range(N))
    engine = MaskingEngine(tiny_generator, tiny_evaluator, BatchSize(N))
    unmasked, masked = engine.everywhere_log_scores(z, 2, [{}, {3: (1, 2)}])
    expected_unmasked, expected = scores(tiny_generator, tiny_evaluator, 3, [(1, 2)], batch_size=N)
    np.testing.assert_allclose(unmasked, expected_unmasked, atol=1e-6)
    np.testing.assert_allclose(masked[1], expected[0], atol=1e-6)
    assert np.array_equal(masked[0], unmasked)


def test_masks_at_several_sites_act_together(tiny_generator):
    z, class_ids = tiny_generator.sample_latents(0, 1, range(2)), torch.full((2,), 1)
    first, both = (
        run(tiny_generator, z, class_ids, masks_at(masks)) for masks in ({1: (0, 1, 2)}, {4: (0,), 1: (0, 1, 2)})
    )
    assert not torch.equal(first, both)


def test_effects_by_hand():
    unmasked = np.log([0.8, 0.4])
    masked = np.log([[0.6, 0.6]])
    effects = masking_effects(unmasked, masked)
    assert effects["score_change"][0] == pytest.approx(0.0, abs=1e-15)
    assert effects["score_change_abs"][0] == pytest.approx(0.2)
    assert effects["score_change_stderr"][0] == pytest.approx(0.2)
    assert effects["score_change_abs_stderr"][0] == pytest.approx(0.0, abs=1e-15)
    assert effects["log_score_change"][0] == pytest.approx((np.log(0.8 / 0.6) + np.log(0.4 / 0.6)) / 2)


def test_groups_are_neighbours_in_awareness_order():
    order = awareness_order(np.array([0.3, np.nan, -1.0, 0.1, 5.0]), inert=[3])
    assert order.tolist() == [1, 2, 0, 4]
    assert consecutive_groups(order, 3) == [(1, 2, 0), (4,)]
    assert consecutive_groups(order, 1) == [(1,), (2,), (0,), (4,)]
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        consecutive_groups(order, 0)


def test_control_masks_are_of_one_size():
    order = np.arange(40)[::-1].copy()
    masks = control_masks(order, 0.1, 5, np.random.default_rng(0))
    assert masks["lowest"] == [(39, 38, 37, 36)]
    assert masks["highest"] == [(3, 2, 1, 0)]
    assert masks["no_op"] == [()]
    assert [len(set(mask)) for mask in masks["random"]] == [4] * 5
    assert len(set(masks["random"])) > 1


def test_running_out_of_memory_halves_the_batch_alone(bundled_generator, bundled_evaluator, monkeypatch):
    z, masks = bundled_generator.sample_latents(0, 4, range(10)), [(0,), (5,), (1, 2)]
    expected = MaskingEngine(bundled_generator, bundled_evaluator, BatchSize(1)).site_log_scores(z, 4, 2, masks)
    whole, sizes = type(bundled_evaluator).log_probabilities, []

    def too_little_memory(self, images):
        sizes.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError("no memory")
        return whole(self, images)

    monkeypatch.setattr(type(bundled_evaluator), "log_probabilities", too_little_memory)
    engine = MaskingEngine(bundled_generator, bundled_evaluator, BatchSize(10))
    found = engine.site_log_scores(z, 4, 2, masks)
    assert engine.batch.images == 1
    assert sizes[:4] == [2, 1, 2, 1]  # batches of 10, then 5: a latent without a mask fits, under two masks not
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(values, wanted)


def test_no_memory_for_one_image_is_said(tiny_generator, tiny_evaluator, monkeypatch):
    def no_memory(self, images):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(type(tiny_evaluator), "log_probabilities", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        MaskingEngine(tiny_generator, tiny_evaluator, BatchSize(2)).site_log_scores(
            tiny_generator.sample_latents(0, 0, range(2)), 0, 0, [()]
        )


def test_bfloat16_moves_a_mean_probability_by_less_than_a_hundredth(bundled_generator, bundled_evaluator):
    """The bound that docs/methods.md states; single probabilities move by more."""
    z, masks = bundled_generator.sample_latents(0, 6, range(64)), [(channel,) for channel in range(6)]
    for site in (0, 3, 5):
        engine = MaskingEngine(bundled_generator, bundled_evaluator, BatchSize(32))
        exact = engine.site_log_scores(z, 6, site, masks)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = engine.site_log_scores(z, 6, site, masks)
        gap = np.exp(low[1]).mean(axis=1) - np.exp(exact[1]).mean(axis=1)
        assert 0 < np.abs(gap).max() < 0.01
