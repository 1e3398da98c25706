"""Segmenters: labels of renderings, parts of planted shapes, networks of torchvision, and what does not fit."""

import numpy as np
import pytest
import torch
from torchvision import models

from cawa_core.errors import InputError
from cawa_core.rendering.pixels import as_floats
from cawa_core.segmenters import SEGMENTERS
from cawa_core.segmenters.base import SegmenterRequest, concept_masks, label_maps
from cawa_core.weights import WeightStore
from cawa_core.worlds.scenes.renderer import render
from cawa_core.worlds.scenes.vocabulary import LABELS


def segmenter_named(name, weights=()):
    return SEGMENTERS.make(name, SegmenterRequest(name, WeightStore(dict(weights))))


def test_the_scenes_segmenter_labels_fresh_renderings():
    scenes = render([place % 30 for place in range(60)], [900 + place for place in range(60)], seed=11)
    images = as_floats(torch.from_numpy(scenes.images).permute(0, 3, 1, 2))
    segmenter = segmenter_named("scenes-segmenter")
    with torch.inference_mode():
        masks = concept_masks(segmenter, images).numpy()
        shares = segmenter.probabilities(images)
        assert torch.equal(label_maps(segmenter, images), shares.argmax(dim=1))
    truth = scenes.labels[:, None] == np.arange(len(LABELS))[:, None, None]
    overlap = (masks & truth).sum(axis=(0, 2, 3)) / (masks | truth).sum(axis=(0, 2, 3))
    assert segmenter.concepts == LABELS
    assert overlap.mean() > 0.9
    assert torch.allclose(shares.sum(dim=1), torch.ones(()))
    assert segmenter.has_probabilities
    with pytest.raises(InputError, match=r"needs images \[n, 3, S, S\] with S a multiple of 4; got \[1, 1, 28, 28\]"):
        segmenter.segment(torch.zeros(1, 1, 28, 28))


def test_parts_of_a_garment():
    """A bright rectangle of rows 2 to 8 and columns 3 to 6."""
    image = torch.full((1, 1, 12, 10), -1.0)
    image[0, 0, 2:9, 3:7] = 0.9
    segmenter = segmenter_named("garment-parts")
    masks = dict(zip(segmenter.concepts, concept_masks(segmenter, image.expand(-1, -1, -1, -1))[0], strict=True))
    shape = image[0, 0] > 0
    assert torch.equal(masks["garment"], shape)
    assert torch.equal(masks["background"], ~shape)
    inside = torch.zeros_like(shape)
    inside[3:8, 4:6] = True
    assert torch.equal(masks["inside"], inside)
    assert torch.equal(masks["outline"], shape & ~inside)
    rows, columns = (
        torch.nonzero(masks[part])[:, dim].unique().tolist() for part, dim in (("upper half", 0), ("left half", 1))
    )
    assert (rows, columns) == ([2, 3, 4], [3, 4])
    rows, columns = (
        torch.nonzero(masks[part])[:, dim].unique().tolist() for part, dim in (("lower half", 0), ("right half", 1))
    )
    assert (rows, columns) == ([6, 7, 8], [5, 6])
    assert label_maps(segmenter, image) is None
    assert not segmenter.has_probabilities
    with pytest.raises(InputError, match="labels pixels without probabilities"):
        segmenter.probabilities(image)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.manual_seed(0)
    network = models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=21)
    torch.save(network.state_dict(), path)
    return path


def test_a_network_of_torchvision_labels_its_categories(weights):
    name = "torchvision/lraspp_mobilenet_v3_large"
    segmenter = segmenter_named(name, {name: str(weights)})
    assert len(segmenter.concepts) == 20
    assert (segmenter.concepts[0], segmenter.concepts[-1]) == ("aeroplane", "tvmonitor")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        labels = segmenter.segment(images)
        shares = segmenter.probabilities(images)
        masks = concept_masks(segmenter, images)
    assert labels.shape == (2, 64, 64)
    assert (int(labels.min()) >= -1, int(labels.max()) < 20) == (True, True)
    assert torch.equal(shares.argmax(dim=1)[labels >= 0], labels[labels >= 0])
    assert torch.equal(masks.any(dim=1), labels >= 0)
    assert "520 x 520" in segmenter.protocol


def test_unknown_networks_and_needless_weights_are_refused(weights):
    with pytest.raises(InputError, match="did you mean 'deeplabv3_resnet50'"):
        segmenter_named("torchvision/deeplabv3_resnet5")
    with pytest.raises(InputError, match="needs no weights of yours"):
        segmenter_named("garment-parts", {"garment-parts": str(weights)})
    with pytest.raises(InputError, match="segmenter must be one of garment-parts, scenes-segmenter, torchvision/NAME"):
        segmenter_named("scenes")
