"""Pixels of concepts in images of both classes and their mixtures, counted by hand."""

import pytest
import torch

from cawa_core.hybrids.concepts import ConceptCounter
from cawa_core.segmenters.base import Segmenter


class Levels(Segmenter):
    """Dark and bright pixels; those of value 0 show nothing."""

    name = "levels"
    digest = "0"
    protocol = "levels"
    concepts = ("dark", "bright")

    def segment(self, images):
        return torch.where(images > 0, 1, torch.where(images < 0, 0, -1))[:, 0]


IMAGES = {
    "input": [[-1, -1, 1, 1], [-1, 0, 0, 1], [1, 1, 1, 1]],
    "reference": [[1, 1, 1, 1], [-1, -1, 1, 1], [-1, -1, -1, -1]],
    "mixed": [[-1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]],
}


def images(rows):
    return {kind: torch.tensor(pixels)[rows].reshape(-1, 1, 2, 2).float() for kind, pixels in IMAGES.items()}


@pytest.mark.parametrize("batches", [[slice(0, 3)], [slice(0, 1), slice(1, 3)]])
def test_the_first_latents_are_counted_whatever_the_batches(batches):
    counter = ConceptCounter(Levels(), 2)
    for batch in batches:
        counter.add(images(batch))
    assert counter.n_latents == 2
    mixed = counter.totals["mixed"]
    assert mixed.pixels.tolist() == [1, 5]
    assert mixed.input_shared.tolist() == [1, 3]
    assert mixed.reference_shared.tolist() == [0, 5]
    for kind in ("input", "reference"):
        unmixed = counter.totals[kind]
        assert getattr(unmixed, f"{kind}_shared").tolist() == unmixed.pixels.tolist()
    assert counter.totals["input"].pixels.tolist() == [3, 3]
    assert (
        counter.totals["input"].reference_shared.tolist() == counter.totals["reference"].input_shared.tolist() == [1, 3]
    )
