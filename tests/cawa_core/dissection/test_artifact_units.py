"""Distances of many subsets at once, and the ranking of units by the images that excite them."""

import numpy as np
import pytest
import torch

from cawa_core.class_metrics.frechet import frechet_distance, frechet_distances
from cawa_core.class_metrics.moments import moments_of
from cawa_core.dissection.artifact_units import artifact_scores, images_and_highest_features, n_excited, worst_units
from cawa_core.generators.base import class_ids_of


@pytest.mark.parametrize("width", [3, 40])
def test_distances_of_subsets_are_those_of_each(width):
    random = torch.Generator().manual_seed(0)
    real = 2 * torch.randn(200, width, generator=random) + 1
    fake = torch.randn(60, width, generator=random)
    subsets = torch.stack([torch.randperm(60, generator=random)[:7] for _ in range(5)])
    distances = frechet_distances(real=moments_of(real), fake=fake, subsets=subsets)
    expected = [frechet_distance(real=moments_of(real), fake=fake[rows]) for rows in subsets]
    assert distances == pytest.approx(expected, rel=1e-9)


def test_images_and_highest_features_are_those_of_each_site(tiny_generator):
    z = torch.randn(5, tiny_generator.z_dim, generator=torch.Generator().manual_seed(0))
    ids = class_ids_of(1, z)
    batches = list(images_and_highest_features(tiny_generator, z, ids, 2))
    assert torch.allclose(torch.cat([images for images, _ in batches]), tiny_generator(z, ids), atol=1e-6)
    for site in tiny_generator.sites:
        highest = torch.cat([by_site[site.index] for _, by_site in batches])
        features = tiny_generator.run_to(site.index, z, ids).features
        assert torch.allclose(highest, features.amax(dim=(2, 3)), atol=1e-6)


def test_a_unit_that_responds_to_all_images_alike_has_no_score(tiny_generator):
    random = torch.Generator().manual_seed(0)
    features = torch.randn(400, 3, generator=random)
    far = features[:, 0].argsort(descending=True)
    highest = [torch.rand(400, site.channels, generator=random) for site in tiny_generator.sites]
    highest[0][:, 0] = 1.0
    highest[0][far[: n_excited(400)], 1] = 2.0
    scores = artifact_scores(tiny_generator, highest, features, moments_of(torch.randn(200, 3, generator=random) - 2))
    assert np.isnan(scores[0][0])
    worst = worst_units(scores, 5)
    assert worst[0] == (0, 1)
    assert (0, 0) not in worst_units(scores, 10_000)


def test_equal_scores_are_ordered_by_site_and_channel():
    scores = [np.array([1.0, 2.0]), np.array([2.0, np.nan])]
    assert worst_units(scores, 9) == [(0, 1), (1, 0), (0, 0)]
