"""Operations of edits, deviations of channels, and suggestions against an edit of each."""

import numpy as np
import pytest
import torch

from cawa_core.edits.editing import TARGETS, channel_deviations
from cawa_core.edits.suggestions import Suggestion, edit_scores, edit_suggestions
from cawa_core.interventions import Intervention, Scale, run


def test_operations_do_what_they_say():
    features = torch.rand(2, 3, 4, 4)
    for operation, strength, expected in (
        ("multiply", 3, features * 3),
        ("add", -0.5, features - 0.5),
        ("set", 2, torch.full_like(features, 2)),
    ):
        assert torch.equal(TARGETS[operation](strength).of(features), expected)


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
        images = run(tiny_generator, z, class_ids, [Intervention(one.site, (one.channel,), Scale(3))])
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
