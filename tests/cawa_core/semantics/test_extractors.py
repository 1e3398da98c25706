"""Extractors that are trained by gradient, and files of linear ones."""

import dataclasses

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.interventions import Constant, Intervention, masks_at, run, run_with_features
from cawa_core.semantics.agreement import LabelCounts, iou_of_set
from cawa_core.semantics.categories import category_maps
from cawa_core.semantics.extractors import (
    ConvolutionalExtractor,
    LinearExtractor,
    PerceptronExtractor,
    WeightedLinearExtractor,
)
from cawa_core.semantics.files import ExtractorFile, read_extractor
from cawa_core.semantics.sums import channel_scales
from cawa_core.semantics.training import trained
from tests.cawa_core.semantics.test_closed_form import CATEGORIES, SIDE, random_features, random_maps
from tests.conftest import random_fashion_generator


def batches_of(features, maps):
    while True:
        yield features, maps


@pytest.mark.parametrize("kind", [WeightedLinearExtractor, PerceptronExtractor, ConvolutionalExtractor])
def test_training_learns_labels_that_the_features_tell(kind):
    features = random_features(8)
    maps = (features[2][:, 0] > 0.3).long() + 2 * (features[2][:, 1] > 0.3).long()
    torch.manual_seed(0)
    extractor = kind((0, 1, 2), SIDE, channel_scales([features]), CATEGORIES)
    with torch.no_grad():
        before = (extractor(features).argmax(dim=1) == maps).float().mean()
    trained([extractor], batches_of(features, maps), 150, [0.03])
    after = (extractor(features).argmax(dim=1) == maps).float().mean()
    assert after > max(0.85, before + 0.3)
    assert not any(each.requires_grad for each in extractor.parameters())


def test_a_planted_linear_map_is_recovered_by_gradient():
    """Labels are the largest of linear functions, of two channels each, of the features of two sites."""
    features = random_features(32, seed=3)
    scales = channel_scales([features])
    truth = [torch.zeros(CATEGORIES, len(scale)) for scale in scales]
    for category, channel in enumerate((0, 1, 4, 5)):
        truth[1][category, category if category < 2 else category + 1] = 1.0
        truth[2][category, channel] = 1.0
    with torch.no_grad():
        maps = LinearExtractor((0, 1, 2), SIDE, truth, torch.zeros(CATEGORIES))(features).argmax(dim=1)
    torch.manual_seed(0)
    extractor = WeightedLinearExtractor((0, 1, 2), SIDE, scales, CATEGORIES)
    trained([extractor], batches_of(features, maps), 600, [0.3])
    counts = LabelCounts.of(extractor(features).argmax(dim=1), maps, CATEGORIES)
    assert iou_of_set(counts).min() > 0.97
    assert float(extractor.site_weights[0]) < 0.1


def test_folding_the_weights_of_sites_changes_nothing():
    features = random_features(4)
    extractor = WeightedLinearExtractor((0, 1, 2), SIDE, channel_scales([features]), CATEGORIES)
    trained([extractor], batches_of(features, random_maps(4)), 20, [0.01])
    assert float(extractor.site_weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(extractor.folded()(features), extractor(features), rtol=1e-4, atol=1e-4)
    plain = WeightedLinearExtractor((0, 1, 2), SIDE, channel_scales([features]), CATEGORIES, weighted=False)
    assert plain.site_weights.tolist() == [1, 1, 1]


def test_a_pixel_of_several_concepts_is_of_the_smallest():
    masks = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
    masks[0, 0, :, :3] = True
    masks[0, 1, 1:3, 1:3] = True
    maps = category_maps(masks)
    assert maps[0].tolist() == [[1, 1, 1, 0], [1, 2, 2, 0], [1, 2, 2, 0], [1, 1, 1, 0]]


@pytest.mark.parametrize(
    "changes", [(), masks_at({0: (1, 2), 3: (0,)}), (Intervention(2, (1,), Constant(0.5)), *masks_at({1: (0,)}))]
)
def test_features_are_those_on_the_way_to_the_same_images(changes):
    generator = random_fashion_generator()
    z, ids = generator.sample_latents(0, 0, range(3)), torch.tensor([0, 4, 9])
    with torch.inference_mode():
        features, images = run_with_features(generator, z, ids, (1, 2, 4), changes)
        assert torch.equal(images, run(generator, z, ids, changes))
        if not changes:
            for site, each in zip((1, 2, 4), features, strict=True):
                assert torch.equal(each, generator.run_to(site, z, ids).features)
        else:
            assert not torch.equal(features[1], generator.run_to(2, z, ids).features)


@pytest.fixture
def saved():
    generator = random_fashion_generator()
    maps = [torch.randn(3, generator.sites[site].channels) for site in (1, 4)]
    extractor = LinearExtractor((1, 4), generator.image_size, maps, torch.randn(3))
    names = ("lda", generator.name, generator.digest, "garment-parts", "digest of the labels")
    return generator, ExtractorFile(extractor, ("nothing", "one", "two"), *names)


def test_a_file_gives_the_same_extractor_back(saved):
    generator, file = saved
    again = read_extractor("map.safetensors", file.content(), generator)
    assert again.content() == file.content()
    for field in dataclasses.fields(file):
        if field.name != "extractor":
            assert getattr(again, field.name) == getattr(file, field.name)
    z = generator.sample_latents(0, 0, range(2))
    with torch.inference_mode():
        features, _ = run_with_features(generator, z, torch.tensor([0, 1]), (1, 4))
        assert torch.equal(again.extractor(features), file.extractor(features))


def test_files_that_do_not_fit_are_refused(saved):
    generator, file = saved
    content = file.content()
    for damaged in (b"", content[:100], b"x" + content[1:], content[:-4]):
        with pytest.raises(InputError, match=r"map.safetensors is (truncated|not an extractor|a damaged)"):
            read_extractor("map.safetensors", damaged, generator)
    other = random_fashion_generator()
    other.digest = "another"
    with pytest.raises(InputError, match="reads features of fashion-biggan with weights random"):
        read_extractor("map.safetensors", content, other)
    wrong = dataclasses.replace(file, categories=("nothing", "one"))
    with pytest.raises(InputError, match="is a damaged extractor"):
        read_extractor("map.safetensors", wrong.content(), generator)
