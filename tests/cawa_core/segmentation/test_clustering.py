"""Pixel features against the channels they come from, clusters of known regions, overlaps by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from cawa_core.errors import InputError
from cawa_core.segmentation import clustering as segmentation
from cawa_core.segmentation import pixel_features as features_module
from cawa_core.segmentation.clustering import (
    bright_foreground,
    check_clusters,
    clustered,
    intersection_over_union,
    label_agreement,
    matched_labels,
    segmentations,
)
from cawa_core.segmentation.pixel_features import PixelFeatures, pixel_features


def batch(generator):
    return generator.sample_latents(0, 1, range(2)), torch.tensor([1, 2])


def pixels_of(generator, *arguments, **fields):
    return pixel_features(generator, *arguments, **fields).rows(0, generator.image_size)


def by_hand(generator, site):
    features = generator.run_to(site, *batch(generator)).features
    side = generator.image_size
    return functional.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)


def test_features_are_every_site_s_channels_at_the_picture_s_size(generator):
    found = pixels_of(generator, *batch(generator), [4, 1])
    torch.testing.assert_close(found, torch.cat([by_hand(generator, 1), by_hand(generator, 4)], dim=1).detach())


def test_weights_multiply_channels(generator):
    channels = generator.sites[2].channels
    weights = {2: np.linspace(-1, 2, channels)}
    found = pixels_of(generator, *batch(generator), [2], weights)
    expected = by_hand(generator, 2).detach() * torch.linspace(-1, 2, channels)[None, :, None, None]
    torch.testing.assert_close(found, expected)


def test_projections_keep_squared_distances_in_the_mean(generator, monkeypatch):
    exact = pixels_of(generator, *batch(generator), [0, 1, 2])
    monkeypatch.setattr(features_module, "MOST_DIMENSIONS", exact.shape[1] - 1)
    narrow = [pixels_of(generator, *batch(generator), [0, 1, 2], seed=seed) for seed in range(20)]
    assert narrow[0].shape[1] == exact.shape[1] - 1
    assert not torch.equal(narrow[0], narrow[1])
    mean = np.mean([squared_distances(some) for some in narrow], axis=0)
    assert np.median(mean / squared_distances(exact)) == pytest.approx(1, abs=0.15)


def squared_distances(features):
    """From the first picture's pixels to those of the second at the same places."""
    return (features[0] - features[1]).square().sum(dim=0).double().numpy()


@pytest.mark.parametrize("most", [10_000, 8])
def test_lower_precision_ends_at_the_features(tiny_generator, monkeypatch, most):
    """Weights, projection and enlargement are float32, whatever the networks compute in."""
    monkeypatch.setattr(features_module, "MOST_DIMENSIONS", most)
    exact = pixels_of(tiny_generator, *batch(tiny_generator), [1, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pixels_of(tiny_generator, *batch(tiny_generator), [1, 2])
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_few_pictures_are_held_where_they_are_large(tiny_generator, monkeypatch):
    z = tiny_generator.sample_latents(0, 1, range(5))
    whole = segmentations(tiny_generator, z, 1, [2], [2])[2]
    sizes = []
    features = segmentation.pixel_features

    def counted(generator, rows, *others):
        sizes.append(len(rows))
        return features(generator, rows, *others)

    monkeypatch.setattr(segmentation, "pixel_features", counted)
    monkeypatch.setattr(features_module, "MOST_VALUES", 2 * tiny_generator.sites[2].channels * 28**2)
    assert np.array_equal(segmentations(tiny_generator, z, 1, [2], [2])[2].labels, whole.labels)
    assert sizes == [2, 2, 1] * 2


@pytest.mark.parametrize("most", [10_000, 8])
@pytest.mark.parametrize("height", [1, 5, 8])
def test_strips_are_rows_of_the_whole(generator, monkeypatch, most, height):
    """To the rounding of float32: kernels for other shapes add in another order."""
    monkeypatch.setattr(features_module, "MOST_DIMENSIONS", most)
    made = pixel_features(generator, *batch(generator), [0, 2, 3, 5])
    side = generator.image_size
    monkeypatch.setattr(features_module, "MOST_VALUES", 2 * made.dimensions * side * height)
    strips = list(made.strips())
    assert [one.shape[2] for one in strips] == [min(height, side - first) for first in range(0, side, height)]
    whole = made.rows(0, side)
    torch.testing.assert_close(torch.cat(strips, dim=2), whole, rtol=0, atol=2e-6 * whole.abs().max().item())


def test_maps_of_no_whole_scale_are_enlarged_as_a_whole():
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    made = PixelFeatures((maps,), None, 10)
    whole = functional.interpolate(maps, size=(10, 10), mode="bilinear", align_corners=False)
    assert torch.equal(made.rows(0, 10), whole)
    assert torch.equal(made.rows(3, 7), whole[:, :, 3:7])


def test_large_pictures_are_never_whole_in_memory():
    """1,024 dimensions of 512 pixels are 1.07 GB; no tensor on the way to a strip is as large as two strips."""
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 40, side, side, generator=random) for side in (64, 512)]
    projections = [torch.randn(1024, 40, generator=random) for _ in maps]
    made = PixelFeatures(tuple(maps), tuple(projections), 512)
    with LargestTensor() as seen:
        strips = sum(1 for _ in made.strips())
    assert strips == 8
    assert seen.values < 2 * features_module.MOST_VALUES


class LargestTensor(TorchDispatchMode):
    """How many values the largest tensor has that is made inside."""

    values = 0

    def __torch_dispatch__(self, operation, types, arguments=(), fields=None):
        result = operation(*arguments, **(fields or {}))
        if isinstance(result, torch.Tensor):
            self.values = max(self.values, result.numel())
        return result


def test_labels_are_those_of_strips(generator, monkeypatch):
    z = generator.sample_latents(0, 1, range(3))
    whole = segmentations(generator, z, 1, [2, 4], [2, 4])
    dimensions = sum(generator.sites[site].channels for site in (2, 4))
    monkeypatch.setattr(features_module, "MOST_VALUES", dimensions * generator.image_size * 5)
    counts = []
    strips = segmentations(generator, z, 1, [2, 4], [2, 4], progress=counts.append)
    assert counts == [1] * 6
    for number in (2, 4):
        assert np.array_equal(strips[number].labels, whole[number].labels)


def test_regions_are_found_and_the_border_comes_first():
    """A square of one vector inside another, in three pictures, at different places."""
    truth = np.zeros((3, 12, 12), dtype=int)
    for index, place in enumerate((2, 4, 6)):
        truth[index, place : place + 4, 3:8] = 1
    vectors = np.array([[1.0, 0, 0], [0, 2.0, 1]])
    noise = np.random.default_rng(0).normal(scale=0.05, size=(3, 12, 12, 3))
    features = torch.tensor((vectors[truth] + noise).transpose(0, 3, 1, 2), dtype=torch.float32)
    found = clustered(lambda: ([some] for some in features.split(2)), 3, [2, 3])
    assert np.array_equal(found[2].labels, truth)
    assert np.array_equal(found[2].foreground, truth == 1)
    assert np.array_equal(found[3].labels, clustered(lambda: [[features]], 3, [3])[3].labels)
    assert set(np.unique(found[3].labels)) == {0, 1, 2}


def test_fitted_to_as_many_pixels_of_each_picture(monkeypatch):
    """Of a picture that alone holds a value, enough is drawn to give it a cluster."""
    features = torch.zeros(4, 1, 10, 10)
    features[3] = 5 + torch.rand(1, 10, 10)
    monkeypatch.setattr(segmentation, "MOST_FITTED", 8)
    found = clustered(lambda: ([some] for some in features.split(1)), 4, [2])[2]
    assert np.array_equal(found.labels == found.labels[3, 0, 0], np.arange(4)[:, None, None] == np.full((10, 10), 3))


def test_a_class_is_its_batches(generator):
    """Batches change nothing; both numbers of clusters come from the same features as by hand."""
    z = generator.sample_latents(0, 1, range(3))
    found = segmentations(generator, z, 1, [2, 3], [2, 4], batch_size=2)
    again = segmentations(generator, z, 1, [3, 2], [4], batch_size=3)
    assert np.array_equal(found[4].labels, again[4].labels)
    features = pixels_of(generator, z, torch.ones(3, dtype=torch.int64), [2, 3])
    assert np.array_equal(found[2].labels, clustered(lambda: [[features]], 3, [2])[2].labels)


@pytest.mark.parametrize("clusters", [1, 33, 256])
def test_clusters_that_there_cannot_be(clusters):
    with pytest.raises(InputError, match=rf"clusters must be in 2\.\.32 for 32 pixels; got {clusters}"):
        check_clusters([2, clusters], 32)


@pytest.mark.parametrize("clusters", [[], [3, 3]])
def test_clusters_that_are_none_or_given_twice(clusters):
    with pytest.raises(InputError, match="clusters must be different numbers, at least one"):
        check_clusters(clusters, 32)


@pytest.mark.parametrize("sites", [[], [1, 1], [0, 6]])
def test_sites_that_are_not_there(tiny_generator, sites):
    with pytest.raises(InputError, match="site"):
        pixel_features(tiny_generator, *batch(tiny_generator), sites)


def test_labels_are_matched_by_the_pixels_they_share():
    """All together: 1 shares most with 0, which 0 needs more."""
    reference = np.array([[[0, 0, 0, 0, 0, 1, 1, 2, 2, 3]]], dtype=np.uint8)
    labels = np.array([[[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]]], dtype=np.uint8)
    found = matched_labels(labels, reference)
    assert found[:3].tolist() == [0, 1, 2]
    assert sorted(found) == list(range(256))
    renamed = np.array([2, 0, 3, 1], dtype=np.uint8)
    assert np.array_equal(matched_labels(renamed[reference], reference)[renamed[reference]], reference)
    assert matched_labels(reference, labels)[:4].tolist() == [0, 1, 2, 3]


def test_overlap_by_hand():
    first, second = np.zeros((3, 2, 2), dtype=bool), np.zeros((3, 2, 2), dtype=bool)
    first[0, 0], second[0, :, 0] = True, True
    first[1] = True
    np.testing.assert_allclose(intersection_over_union(first, second), [1 / 3, 0, 1])


def test_the_bright_foreground_is_between_the_two_levels():
    image = torch.full((1, 1, 8, 8), -0.9)
    image[0, 0, 2:5, 1:7] = 0.4
    image[0, 0, 2, 1] = 0.2
    assert np.array_equal(bright_foreground(image)[0], image[0, 0].numpy() > 0)


def test_labels_agree_whatever_they_are_called():
    maps = np.array([[[0, 0, 1, 1], [2, 2, 2, 2]], [[0, 0, 0, 0], [1, 1, 1, 1]]], dtype=np.uint8)
    renamed = np.array([7, -1, 3])[maps]
    np.testing.assert_array_equal(label_agreement(maps, renamed), [1, 1])
    halves = np.array([[[0, 0, 1, 1], [0, 0, 1, 1]]], dtype=np.uint8)
    # Of 28 pairs of pixels, 12 are together in either map and 4 in both; 12 * 12 / 28 are expected by chance.
    expected = 12 * 12 / 28
    np.testing.assert_allclose(label_agreement(halves, maps[1:]), [(4 - expected) / (12 - expected)])


def test_unrelated_labels_agree_by_chance_alone():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, size=(2, 50, 32, 32))
    assert abs(label_agreement(first.astype(np.uint8), second).mean()) < 0.001
