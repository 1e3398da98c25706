"""Steps along directions of the planted generator, by hand; derivatives against differences."""

import pytest
import torch

from cawa_core.directions.direction import Direction
from cawa_core.directions.manipulation import concept_changes, concept_derivatives, moved_images, pixel_changes
from cawa_core.errors import InputError
from cawa_core.latents.concepts import AttributeScores, ClassScores, FunctionScores, JoinedScores
from cawa_core.latents.dimensions import DimensionUnits
from tests import planted_dimensions
from tests.planted_dimensions import BlindEvaluator, PlantedGenerator

GENERATOR = PlantedGenerator()
UNITS = DimensionUnits.of(GENERATOR)
CLASSES = torch.tensor([0, 3, 5, 1, 2])
Z = GENERATOR.sample_latents(0, 7, range(5))


def a_direction():
    return Direction(torch.tensor([0, 1.0, 0, 0, -1, 0, 0, 0]), torch.tensor([0, 0, 0.5, 0]))


def by_hand(strength):
    direction = a_direction()
    embedding = GENERATOR.class_embedding(CLASSES) + strength * UNITS.embedding_deviation * direction.embedding
    return GENERATOR.run_from(0, GENERATOR.begin(Z + strength * direction.latent, embedding))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_steps_move_latents_and_embedding_of_every_image(batch_size):
    steps = [(a_direction(), 0.0), (a_direction(), 2.0), (a_direction(), -1.0)]
    batches = list(moved_images(GENERATOR, Z, CLASSES, steps, UNITS, batch_size))
    assert torch.cat([cases for cases, _ in batches]).tolist() == list(range(15))
    images = torch.cat([images for _, images in batches]).split(5)
    for (_, strength), each in zip(steps, images, strict=True):
        torch.testing.assert_close(each, by_hand(strength))


def test_changes_are_differences_of_scores():
    scores = JoinedScores([ClassScores(BlindEvaluator()), FunctionScores("corner", planted_dimensions.corner)])
    changes = concept_changes(GENERATOR, scores, Z, CLASSES, [(a_direction(), 2.0)], UNITS, 2)
    expected = scores.scores(by_hand(2.0), CLASSES) - scores.scores(by_hand(0.0), CLASSES)
    torch.testing.assert_close(changes[0], expected.double(), atol=1e-6, rtol=1e-5)
    assert not changes[0, :, 1].any()  # the corner reads none of these dimensions


@pytest.mark.parametrize("space", ["latent", "embedding"])
def test_derivatives_are_differences(space):
    scores = JoinedScores([FunctionScores("corner", planted_dimensions.corner), AttributeScores(1)])
    size = 8 if space == "latent" else 4
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(len(scores.concepts), size, generator=generator) / 4
    derivatives = concept_derivatives(GENERATOR, scores, Z, CLASSES, weights, 1.5, space, UNITS, 3)
    assert derivatives.isnan().all(dim=1).tolist() == [not each for each in scores.with_gradients]
    brightness = scores.concepts.index("brightness")
    step = 1e-2
    for place in range(size):
        ends = []
        for sign in (1, -1):
            moved = weights[brightness].clone()
            moved[place] += sign * step
            direction = Direction.in_space(space, moved, GENERATOR)
            changes = concept_changes(GENERATOR, scores, Z, CLASSES, [(direction, 1.5)], UNITS)
            ends.append(float(changes[0, :, brightness].mean()))
        # The function divides by the length of the step, so that steps of any length weigh the same.
        expected = (ends[0] - ends[1]) / (2 * step) / 1.5
        assert float(derivatives[brightness, place]) == pytest.approx(expected, abs=2e-4)


def test_pixels_change_where_they_were_changed():
    before = torch.zeros(2, 1, 4, 4)
    after = before.clone()
    after[0, :, 0, 0] = 1.6
    after[1] = 0.5
    change, locality = pixel_changes(before, after)
    assert change.tolist() == pytest.approx([0.8 / 16, 0.25])
    assert locality.tolist() == pytest.approx([1 - 1 / 16, 0])


def test_a_direction_of_other_sizes_is_refused():
    with pytest.raises(InputError, match="8 latent and 4 embedding"):
        Direction(torch.ones(7), torch.ones(4)).require_fits(GENERATOR)
