"""Scores by concepts: classifier, labels, attributes, and a user's function with its faults."""

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.latents.concepts import AreaScores, AttributeScores, ClassScores, FunctionScores, JoinedScores
from cawa_core.segmenters.garment_parts import GarmentParts
from tests import planted_dimensions
from tests.planted_dimensions import BlindEvaluator

IMAGES = torch.linspace(-1, 1, 3 * 16 * 16).reshape(3, 1, 16, 16)
CLASSES = torch.tensor([5, 0, 2])


def test_class_scores_are_log_odds():
    evaluator = BlindEvaluator()
    probabilities = evaluator.log_probabilities(IMAGES).exp().gather(1, CLASSES[:, None])
    scores = ClassScores(evaluator).scores(IMAGES, CLASSES)
    torch.testing.assert_close(scores, (probabilities / (1 - probabilities)).log())


def test_areas_are_shares_of_the_pixels():
    segmenter = GarmentParts()
    scores = AreaScores(segmenter)
    assert scores.concepts[:2] == ("area of background", "area of garment")
    expected = segmenter.segment(IMAGES).float().mean(dim=(2, 3))
    torch.testing.assert_close(scores.scores(IMAGES, CLASSES), expected)
    assert not any(scores.with_gradients)
    assert scores.soft_scores(IMAGES, CLASSES).isnan().all()


def test_joined_scores_have_the_columns_of_all_in_order():
    functions = [FunctionScores(name, getattr(planted_dimensions, name)) for name in ("corner", "both")]
    joined = JoinedScores([ClassScores(BlindEvaluator()), AttributeScores(1), *functions])
    assert joined.concepts[0] == "class log-odds"
    assert joined.concepts[-3:] == ("corner", "left", "right")
    scores = joined.scores(IMAGES, CLASSES)
    assert scores.shape == (3, len(joined.concepts))
    torch.testing.assert_close(scores[:, -3], planted_dimensions.corner(IMAGES))
    soft = joined.soft_scores(IMAGES, CLASSES)
    assert soft.isfinite().all(dim=0).tolist() == list(joined.with_gradients)
    with pytest.raises(InputError, match="different names"):
        JoinedScores([functions[0], functions[0]])


def test_faults_of_a_users_function_are_one_line():
    def failing(images):
        raise KeyError("no such thing\nat all")

    def misnamed(images):
        return images

    misnamed.concepts = "beauty"
    with pytest.raises(InputError, match="in a tuple concepts"):
        FunctionScores("mine", misnamed)

    def infinite(images):
        return images.mean(dim=(1, 2, 3)) / 0

    def on_a_lost_device(images):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="CUDA error"):  # not the function's fault: the worker is replaced
        FunctionScores("mine", on_a_lost_device).scores(IMAGES, CLASSES)

    for function, words in ((planted_dimensions.wrong, r"got \[3, 3\]"), (failing, "failed"), (infinite, "finite")):
        with pytest.raises(InputError, match=words) as fault:
            FunctionScores("mine", function).scores(IMAGES, CLASSES)
        assert "\n" not in str(fault.value)
