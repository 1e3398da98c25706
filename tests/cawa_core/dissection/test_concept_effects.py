"""Optimised sets of units: the images of a step go through the networks in as many parts as memory asks for."""

import numpy as np
import pytest
import torch

from cawa_core.dissection.concept_effects import optimised_weights
from cawa_core.numerics import batch_size as batch_sizes
from cawa_core.segmenters.base import Segmenter
from tests.planted_effects import CausalGenerator, SoftSquareSegmenter


class CountingSegmenter(SoftSquareSegmenter):
    """Records how many images each backward pass takes."""

    def __init__(self):
        super().__init__()
        self.passes = []

    def probabilities(self, images):
        if images.requires_grad:
            self.passes.append(len(images))
        return super().probabilities(images)


def weights_of(segmenter: Segmenter, batch_size: int):
    generator = CausalGenerator()
    z = generator.sample_latents(0, 0, range(24))
    ids = torch.zeros(24, dtype=torch.int64)
    start = [torch.tensor([1.0, 0.8, 0.3, 0.0])]
    values = [torch.tensor([1.0, 2.0, 0.1, 0.0])]
    random = np.random.default_rng(0)
    steps = {"steps": 5, "images_per_step": 8, "batch_size": batch_size}
    (weights,) = optimised_weights(generator, segmenter, z, ids, 0, values, start, random, **steps)
    return weights


@pytest.fixture
def whole_steps():
    return weights_of(SoftSquareSegmenter(), 8)


def test_parts_of_a_step_change_the_weights_by_rounding_only(whole_steps):
    segmenter = CountingSegmenter()
    weights = weights_of(segmenter, 3)
    assert max(segmenter.passes) == 3
    # Adam divides by the size of the gradient, so rounding of 1e-7 stays below 1e-5 over five steps.
    assert torch.allclose(weights, whole_steps, atol=1e-5)


def test_images_that_keep_too_much_for_the_backward_pass_go_one_by_one(whole_steps, monkeypatch):
    monkeypatch.setitem(batch_sizes.GRAPH_BYTES, "cpu", 1)
    segmenter = CountingSegmenter()
    weights = weights_of(segmenter, 8)
    assert set(segmenter.passes) == {1}
    assert torch.allclose(weights, whole_steps, atol=1e-5)
