"""Edits: neutral ones change no bit, regions keep to their place, and a mask is an edit."""

import numpy as np
import pytest
import torch

from cawa_core.applications.editing import ChannelEdit, channel_deviations, edited_images
from cawa_core.applications.suggestions import Suggestion, edit_scores, edit_suggestions
from cawa_core.errors import InputError
from cawa_core.masking.engine import run_masked


@pytest.fixture
def batch(generator):
    return generator.sample_latents(0, 1, range(3)), torch.tensor([1, 1, 2])


def test_neutral_edits_change_no_bit(generator, batch):
    whole = torch.ones(generator.image_size, generator.image_size)
    plain = generator(*batch)
    edits = [
        ChannelEdit(site.index, (0, 1), operation, strength, region)
        for site in generator.sites
        for operation, strength, region in (("multiply", 1, None), ("add", 0, None), ("multiply", 1, whole * 0.3))
    ]
    assert torch.equal(edited_images(generator, *batch, edits), plain)
    assert torch.equal(edited_images(generator, *batch, []), plain)
    nowhere = [ChannelEdit(1, (0,), "multiply", 5, whole * 0)]
    assert torch.equal(edited_images(generator, *batch, nowhere), plain)


def test_setting_to_zero_is_a_mask(generator, batch):
    z, _ = batch
    ones = torch.ones(3, dtype=torch.int64)
    edits = [ChannelEdit(2, (3, 0), "set", 0), ChannelEdit(1, (1,), "multiply", 0)]
    assert torch.equal(edited_images(generator, z, ones, edits), run_masked(generator, z, 1, {1: (1,), 2: (3, 0)}))


def test_operations_do_what_they_say(generator, batch):
    state = generator.run_to(1, *batch)
    before = state.features[:, [2, 4]]
    for operation, strength, expected in (
        ("multiply", 3, before * 3),
        ("add", -0.5, before - 0.5),
        ("set", 2, torch.full_like(before, 2)),
    ):
        after = ChannelEdit(1, (2, 4), operation, strength).applied(state).features
        assert torch.equal(after[:, [2, 4]], expected)
        rest = [channel for channel in range(after.shape[1]) if channel not in (2, 4)]
        assert torch.equal(after[:, rest], state.features[:, rest])


def test_a_whole_region_is_no_region(generator, batch):
    whole = torch.ones(generator.image_size, generator.image_size)
    plain, everywhere = (
        edited_images(generator, *batch, [ChannelEdit(1, (0,), "add", 1.5, region)]) for region in (None, whole)
    )
    assert torch.equal(plain, everywhere)


def test_a_region_keeps_the_rest(tiny_generator):
    """At the last site, beyond the few pixels that the last convolution reaches, nothing changes."""
    z, class_ids = tiny_generator.sample_latents(0, 0, range(2)), torch.zeros(2, dtype=torch.int64)
    last, side = tiny_generator.sites[-1].index, tiny_generator.image_size
    region = torch.zeros(side, side)
    region[:, : side // 2] = 1
    edits = [ChannelEdit(last, (0,), "add", 3, region)]
    moved = (edited_images(tiny_generator, z, class_ids, edits) - tiny_generator(z, class_ids)).abs()
    assert moved[..., : side // 2].max() > 0.01
    assert moved[..., side // 2 + 2 :].max() == 0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (ChannelEdit(6, (0,), "add", 1), "site must be in 0..5"),
        (ChannelEdit(-1, (0,), "add", 1), "site must be in 0..5"),
        (ChannelEdit(0, (12,), "add", 1), "channels must be in 0..11 at site 0"),
        (ChannelEdit(0, (), "add", 1), "at least one; got []"),
        (ChannelEdit(0, (1, 1), "add", 1), "different ones"),
        (ChannelEdit(0, (1,), "scale", 1), "operation must be multiply, add, set; got 'scale'"),
        (ChannelEdit(0, (1,), "add", 1, torch.ones(4, 5)), "28 x 28 pixels; got 4 x 5"),
    ],
)
def test_edits_that_do_not_fit(tiny_generator, edit, message):
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        edited_images(tiny_generator, tiny_generator.sample_latents(0, 0, [0]), torch.tensor([0]), [edit])


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_deviations(tiny_generator, batch_size):
    """Of all latents and places together, whatever the batches."""
    z, class_ids = tiny_generator.sample_latents(0, 0, range(5)), torch.zeros(5, dtype=torch.int64)
    features = tiny_generator.run_to(2, z, class_ids).features
    found = channel_deviations(tiny_generator, z, class_ids, 2, batch_size)
    assert found.shape == (features.shape[1],)
    assert found[3] == pytest.approx(features[:, 3].std(correction=0).item(), rel=1e-5)


def test_suggestions_are_what_an_edit_does(tiny_generator, tiny_evaluator):
    z, tried = tiny_generator.sample_latents(0, 2, range(4)), [(4, 1), (0, 3), (4, 0)]
    found = edit_suggestions(tiny_generator, tiny_evaluator, z, 2, tried)
    assert {(one.site, one.channel) for one in found} == set(tried)
    assert [one.merit for one in found] == sorted((one.merit for one in found), reverse=True)
    class_ids = torch.full((4,), 2)
    plain = tiny_generator(z, class_ids)
    for one in found:
        images = edited_images(tiny_generator, z, class_ids, [ChannelEdit(one.site, (one.channel,), "multiply", 3)])
        moved = (images - plain).abs().mean(1).flatten(1) / 2
        assert one.change == pytest.approx(moved.mean().item())
        share = (moved.sum(1) ** 2 / (moved.shape[1] * (moved**2).sum(1))).nan_to_num(1)  # where nothing changes
        assert one.locality == pytest.approx(1 - share.mean().item(), abs=1e-5)
        before, after = (tiny_evaluator.log_probabilities(some)[:, 2].exp() for some in (plain, images))
        assert one.kept == pytest.approx((after / before).clamp(max=1).mean().item())


def test_standard_errors_of_suggestions():
    """Of the product by hand: for three latents, the derivative of the product of means along each latent's values."""
    values = np.array([[0.1, 0.5, 1.0], [0.3, 0.7, 0.9], [0.2, 0.8, 0.4]])
    found = Suggestion.of(2, 7, values)
    means = values.mean(axis=0)
    assert (found.change, found.locality, found.kept) == pytest.approx(tuple(means))
    assert found.merit == pytest.approx(np.prod(means))
    assert found.kept_stderr == pytest.approx(values[:, 2].std(ddof=1) / np.sqrt(3))
    step = 1e-6
    moved = [np.prod(means + step * (own - means)) for own in values]
    along = (np.array(moved) - np.prod(means)) / step
    assert found.merit_stderr == pytest.approx(np.sqrt(np.sum(along**2) / 2 / 3), rel=1e-4)
    assert found.n_samples == 3
    assert np.isnan(Suggestion.of(2, 7, values[:1]).merit_stderr)


def test_scores_are_those_of_suggestions_in_the_order_given(tiny_generator, tiny_evaluator):
    z, given = tiny_generator.sample_latents(0, 2, range(5)), [(4, 1), (0, 3), (4, 0)]
    found = edit_scores(tiny_generator, tiny_evaluator, z, 2, given, batch_size=2)
    assert [(one.site, one.channel) for one in found] == given
    ranked = edit_suggestions(tiny_generator, tiny_evaluator, z, 2, given)
    merits = {(one.site, one.channel): one.merit for one in ranked}
    assert [one.merit for one in found] == pytest.approx([merits[one] for one in given], rel=1e-5)
