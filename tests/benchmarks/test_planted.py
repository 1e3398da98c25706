"""The generator with planted faults: it is a generator like any other, and its faults are what they are said to be."""

import json

import pytest
import torch

from benchmarks.planted import evaluator, generator
from benchmarks.planted.faults import Faults, with_faults
from benchmarks.planted.prepare import prepare
from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.generators.base import class_ids_of
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore

CLASSES, REAL = 14, 4
IMAGES = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "CALIBRATION_IMAGES", 64)
        prepare(path, CLASSES, REAL, seed=0)
    return path


def loaded(folder, name="generator"):
    weights = WeightStore(given={"planted": str(folder / f"{name}.safetensors")})
    return generator.factory(GeneratorRequest("planted", weights))


def images_of(model, class_id):
    z = model.sample_latents(0, class_id, range(IMAGES))
    with torch.inference_mode():
        return model(z, class_ids_of(class_id, z))


def test_each_fault_is_what_it_is_said_to_be(folder):
    faults = Faults(**json.loads((folder / "faults.json").read_text())["classes"])
    planted = {*faults.broken, *faults.swapped, faults.collapsed, faults.noisy, *faults.damaged_later}
    assert len(planted) == 12
    model, later = loaded(folder), loaded(folder, "later")
    judge = evaluator.factory(
        EvaluatorRequest("judge", WeightStore(given={"judge": str(folder / "evaluator.safetensors")}))
    )
    images = {class_id: images_of(model, class_id) for class_id in range(CLASSES)}
    predicted = {class_id: judge.log_probabilities(pixels).argmax(dim=1) for class_id, pixels in images.items()}
    accuracy = {class_id: float((classes == class_id).float().mean()) for class_id, classes in predicted.items()}
    healthy = set(range(CLASSES)) - planted | set(faults.damaged_later)
    assert min(accuracy[class_id] for class_id in healthy) > 0.8
    assert max(accuracy[class_id] for class_id in faults.broken) < 0.2
    first, second = faults.swapped
    assert predicted[first].mode().values == second
    assert predicted[second].mode().values == first
    spread = {class_id: float(pixels.std(dim=0).mean()) for class_id, pixels in images.items()}
    assert spread[faults.collapsed] < 0.7 * min(spread[class_id] for class_id in healthy)
    roughness = {class_id: float(pixels.diff(dim=3).abs().mean()) for class_id, pixels in images.items()}
    assert roughness[faults.noisy] > max(roughness[class_id] for class_id in healthy)
    changed = {class_id for class_id in images if not torch.equal(images_of(later, class_id), images[class_id])}
    assert changed == set(faults.damaged_later)


def test_noisy_images_under_masks_are_those_of_the_whole_passes(folder):
    """And do not depend on the batch."""
    model = loaded(folder)
    noisy = json.loads((folder / "faults.json").read_text())["classes"]["noisy"]
    z = model.sample_latents(0, noisy, range(4))
    masks = [(0, 3), (5,)]
    with torch.inference_mode():
        torch.testing.assert_close(
            model(z[1:2], class_ids_of(noisy, z[1:2])), model(z, class_ids_of(noisy, z))[1:2], atol=1e-5, rtol=0
        )
        for site in model.sites:
            state = model.run_to(site.index, z, class_ids_of(noisy, z))
            masked = [state.features.index_fill(1, torch.tensor(mask), 0) for mask in masks]
            expected = torch.cat([model.run_from(site.index, state.with_features(features)) for features in masked])
            images = model.under_masks(state, masks)(slice(None))
            torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)


def test_faults_leave_all_other_classes_alone():
    embedding = torch.randn(20, 6)
    embedding[:, -2:] = 0
    faults = Faults.drawn(20, seed=1)
    changed = (with_faults(embedding, faults, seed=1) != embedding).any(dim=1).nonzero().flatten().tolist()
    assert changed == sorted({*faults.broken, *faults.swapped, faults.collapsed, faults.noisy})
