"""Maps in closed form from streamed sums equal a dense solve, and a planted linear map is recovered."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.semantics.agreement import LabelCounts, iou_by_image, iou_of_set, mean_iou
from cawa_core.semantics.closed_form import (
    CLOSED_FORMS,
    NormalEquations,
    discriminant_weights,
    linear_extractor,
    ridge_weights,
)
from cawa_core.semantics.features import enlarged_sum
from cawa_core.semantics.sums import FeatureSums, channel_scales

SIDE = 16
SITES = ((7, 4), (5, 8), (6, 16))
"""Channels and resolution of three sites."""
CATEGORIES = 4
BLOCK = 16


def random_features(n, seed=0):
    """Features after a ReLU, some channels large, some small and one off."""
    random = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, channels, side, side, generator=random).relu() for channels, side in SITES]
    features[0][:, 1] *= 300
    features[1][:, 2] *= 1e-3
    features[2][:, 3] = 0
    return features


def enlarged(features):
    """All features on the grid of the images: float64 ``[n, channels, S, S]``."""
    return torch.cat([functional.interpolate(each.double(), (SIDE, SIDE), mode="bilinear") for each in features], dim=1)


def random_maps(n, seed=1):
    coarse = torch.randn(n, CATEGORIES, 5, 5, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear").argmax(dim=1)


def sums_of(features, maps, scales=None):
    sums = FeatureSums.none(scales or channel_scales([features]), SIDE, CATEGORIES)
    for first in range(0, len(maps), BLOCK):
        sums.add([each[first : first + BLOCK] for each in features], maps[first : first + BLOCK])
    return sums


def dense(features, maps, scales):
    """Design matrix with the constant, and indicators, of all pixels."""
    x = enlarged(features) / torch.cat(scales)[:, None, None]
    rows = x.movedim(1, -1).flatten(0, 2)
    one_hot = functional.one_hot(maps, CATEGORIES).double().flatten(0, 2)
    return torch.cat([rows, torch.ones(len(rows), 1).double()], dim=1), one_hot


def test_streamed_sums_equal_those_of_enlarged_features():
    features, maps = random_features(40), random_maps(40)
    sums = sums_of(features, maps)
    gram, products = sums.equations()
    x, y = dense(features, maps, sums.scales)
    torch.testing.assert_close(gram, x.T @ x, rtol=1e-7, atol=1e-3)
    torch.testing.assert_close(products, x.T @ y, rtol=1e-7, atol=1e-3)
    assert sums.n_images == 40


def test_ridge_equals_a_dense_solve():
    features, maps = random_features(24), random_maps(24)
    sums = sums_of(features, maps)
    equations = NormalEquations.of(sums)
    x, y = dense(features, maps, sums.scales)
    penalties = torch.full((x.shape[1],), equations.ridge).double()
    penalties[-1] = 0
    expected = torch.linalg.solve(x.T @ x + torch.diag(penalties), x.T @ y)
    weights = ridge_weights(equations)
    assert float((x @ (weights - expected)).abs().max()) < 1e-6
    extractor = linear_extractor(weights, sums.scales, (0, 1, 2), SIDE)
    with torch.no_grad():
        scores = extractor(features)
    scores = scores.movedim(1, -1).flatten(0, 2).double()
    assert float((scores - x @ expected).abs().max()) < 1e-4  # float32


def test_the_discriminant_equals_scikit_learns():
    features, maps = random_features(24), random_maps(24)
    sums = sums_of(features, maps)
    weights = discriminant_weights(NormalEquations.of(sums, penalty=1e-9))
    x, _ = dense(features, maps, sums.scales)
    varies = x.std(dim=0) > 0
    expected = LinearDiscriminantAnalysis().fit(x[:, varies].numpy(), maps.flatten().numpy())
    ours = (x @ weights).argmax(dim=1).numpy()
    assert (ours == expected.predict(x[:, varies].numpy())).mean() > 0.9999


def test_indicators_that_are_linear_in_the_features_are_recovered_exactly():
    """One channel per category is on where it is."""
    maps = random_maps(20)
    one_hot = functional.one_hot(maps, CATEGORIES).movedim(-1, 1).float()
    features = [torch.randn(20, 3, 4, 4).relu(), 5 * one_hot]
    sums = FeatureSums.none(channel_scales([features]), SIDE, CATEGORIES)
    sums.add(features, maps)
    for weights_of in CLOSED_FORMS.values():
        extractor = linear_extractor(weights_of(NormalEquations.of(sums)), sums.scales, (0, 1), SIDE)
        with torch.no_grad():
            counts = LabelCounts.of(extractor(features).argmax(dim=1), maps, CATEGORIES)
        assert mean_iou(iou_of_set(counts)) == 1
        assert mean_iou(iou_by_image(counts)) == 1


def test_sums_are_the_same_in_any_order_of_shards():
    features, maps = random_features(6 * BLOCK), random_maps(6 * BLOCK)
    scales = channel_scales([features])
    parts = []
    for first in range(0, len(maps), BLOCK):
        rows = slice(first, first + BLOCK)
        parts.append(sums_of([each[rows] for each in features], maps[rows], scales))
    one = sums_of(features, maps, scales)
    for order in ((3, 0, 5, 1, 2, 4), (5, 4, 3, 2, 1, 0)):
        other = FeatureSums.none(scales, SIDE, CATEGORIES)
        for place in order:
            other.add_sums(parts[place])
        assert torch.equal(one.gram, other.gram)
        assert torch.equal(one.products, other.products)
        for weights_of in CLOSED_FORMS.values():
            assert torch.equal(weights_of(NormalEquations.of(one)), weights_of(NormalEquations.of(other)))


def test_leaving_an_image_out_equals_training_without_it():
    features, maps = random_features(12), random_maps(12)
    scales = channel_scales([features])
    everything = NormalEquations.of(sums_of(features, maps, scales))
    kept = [place for place in range(12) if place != 4]
    rest = sums_of([each[kept] for each in features], maps[kept], scales)
    out = everything.without(sums_of([each[4:5] for each in features], maps[4:5], scales))
    expected = NormalEquations.of(rest)
    expected = NormalEquations(expected.gram, expected.products, everything.ridge)
    for weights_of in CLOSED_FORMS.values():
        torch.testing.assert_close(weights_of(out), weights_of(expected), rtol=1e-4, atol=1e-5)


def test_a_category_that_is_never_seen_is_never_predicted():
    features, maps = random_features(8), random_maps(8) % 2
    for weights_of in CLOSED_FORMS.values():
        extractor = linear_extractor(
            weights_of(NormalEquations.of(sums_of(features, maps))), channel_scales([features]), (0, 1, 2), SIDE
        )
        with torch.no_grad():
            assert set(extractor(features).argmax(dim=1).unique().tolist()) <= {0, 1}


def test_maps_of_one_resolution_are_added_before_they_are_enlarged():
    maps = [torch.randn(2, 3, side, side) for side in (4, 8, 4, 16)]
    expected = sum(functional.interpolate(each, (SIDE, SIDE), mode="bilinear") for each in maps)
    torch.testing.assert_close(enlarged_sum(maps, SIDE), expected, rtol=1e-5, atol=1e-5)


def test_sums_that_do_not_fit_are_refused():
    features, maps = random_features(4), random_maps(4)
    sums = sums_of(features, maps)
    other = sums_of([2 * each for each in features], maps)
    with pytest.raises(InputError, match="sums must be of the same channels, categories and units"):
        sums.add_sums(other)
    with pytest.raises(InputError, match="sums must have at least one image"):
        NormalEquations.of(FeatureSums.none(sums.scales, SIDE, CATEGORIES))
    with pytest.raises(InputError, match="penalty must be above 0"):
        NormalEquations.of(sums, penalty=0)


def test_agreement_equals_a_loop_over_images():
    predicted, true = random_maps(9, seed=7), random_maps(9, seed=8)
    counts = LabelCounts.of(predicted, true, CATEGORIES)
    for label in range(CATEGORIES):
        ious = []
        for one, other in zip(predicted.numpy() == label, true.numpy() == label, strict=True):
            if (one | other).any():
                ious.append((one & other).sum() / (one | other).sum())
        assert counts.n_images[label] == len(ious)
        assert iou_by_image(counts)[label] == pytest.approx(np.mean(ious))
        one, other = predicted.numpy() == label, true.numpy() == label
        assert iou_of_set(counts)[label] == pytest.approx((one & other).sum() / (one | other).sum())
    twice = counts + counts
    np.testing.assert_allclose(iou_of_set(twice), iou_of_set(counts))
