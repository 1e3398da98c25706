"""Interventions on single dimensions of a planted generator: exactly the planted ones move their concepts."""

import numpy as np
import pytest
import torch

from cawa_core.generators.base import class_ids_of
from cawa_core.latents.concepts import FunctionScores, JoinedScores
from cawa_core.latents.dimensions import DimensionUnits, responses
from cawa_core.latents.drives import drives
from cawa_core.latents.effects import effects_of
from tests import planted_dimensions
from tests.planted_dimensions import CONTROLS, EMBEDDINGS, PlantedGenerator

GRID = (-3.0, -1.5, 0.0, 1.5, 3.0)
DIMENSIONS = [("latent", index) for index in range(8)] + [("embedding", index) for index in range(4)]
GENERATOR = PlantedGenerator()
CONCEPTS = JoinedScores([FunctionScores(name, getattr(planted_dimensions, name)) for name in CONTROLS])


def answers(batch_size=64, class_id=2, count=6):
    z = GENERATOR.sample_latents(0, class_id, range(count))
    return z, responses(GENERATOR, CONCEPTS, z, class_id, DIMENSIONS, GRID, sites=[0], batch_size=batch_size)


def test_scores_are_those_of_images_by_hand():
    z, measured = answers()
    units = DimensionUnits.of(GENERATOR)
    embedding = GENERATOR.class_embedding(class_ids_of(2, z))
    for place, (space, index) in enumerate(DIMENSIONS):
        for column, value in enumerate(GRID):
            codes, embeddings = z.clone(), embedding.clone()
            if space == "latent":
                codes[:, index] = value
            else:
                embeddings[:, index] = EMBEDDINGS[:, index].mean() + value * EMBEDDINGS[:, index].std(correction=0)
            images = GENERATOR.run_from(0, GENERATOR.begin(codes, embeddings))
            expected = CONCEPTS.scores(images, class_ids_of(2, z)).double().numpy()
            np.testing.assert_allclose(measured.scores[:, place, column, :2], expected[:, :2], rtol=1e-5, atol=1e-6)
    assert units.latent_deviation == 1


def test_the_planted_dimensions_and_no_others_have_effects():
    _, measured = answers(count=12)
    effects = effects_of(measured.scores, GRID, np.ones(3))
    for column, controls in enumerate(CONTROLS.values()):
        if not controls:
            continue
        moving = {index for index in range(8) if effects.effect[index, column] != 0}
        assert moving == set(controls)
        for index, sign in controls.items():
            assert np.sign(effects.effect[index, column]) == sign
            assert effects.rank_correlation[index, column] == pytest.approx(sign)
            assert effects.p_value[index, column] <= 2 * 0.5**12  # of equal effects of 12 latents: the sign test
        still = [index for index in range(8) if index not in controls]
        assert (effects.p_value[still, column] == 1).all()
    assert effects.effect[8 + 2, 0] > 0  # the embedding dimension of the background


def test_batches_do_not_change_the_numbers():
    whole, small = answers(64)[1], answers(3)[1]
    np.testing.assert_allclose(small.scores[..., :2], whole.scores[..., :2], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(small.changes, whole.changes, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(small.activations[0], whole.activations[0], rtol=1e-5, atol=1e-7)


def test_closed_forms_are_the_measured_slopes_over_many_latents():
    """The input of the planted channels is normal, so that nothing but the sample differs.

    With 400 latents, slopes differ by a few percent of the largest.
    """
    z = GENERATOR.sample_latents(0, 1, range(400))
    grid = (-0.5, 0.5)
    measured = np.zeros((4, 12))
    units = DimensionUnits.of(GENERATOR)
    embedding = GENERATOR.class_embedding(class_ids_of(1, z))
    for place, (space, index) in enumerate(DIMENSIONS):
        ends = []
        for value in grid:  # shifts, since the closed form is the mean derivative at the latents themselves
            codes, embeddings = z.clone(), embedding.clone()
            if space == "latent":
                codes[:, index] += value
            else:
                embeddings[:, index] += value * units.embedding_deviation[index]
            ends.append(GENERATOR.begin(codes, embeddings).features.mean(dim=(0, 2, 3)))
        measured[:, place] = (ends[1] - ends[0]).double().numpy()
    driven = drives(GENERATOR.modulation(0), EMBEDDINGS[1:2], units)
    predicted = np.hstack([driven.activation["latent"], driven.activation["embedding"]])
    np.testing.assert_allclose(predicted, measured, atol=0.02)
    assert np.abs(predicted).max() > 0.15
    assert not driven.activation["latent"][0, [0, 2, 3, 5, 6, 7]].any()


def test_derivatives_of_awareness_are_differences_of_class_means():
    """A dimension shifts the class mean of a channel, whose threshold is known in closed form."""
    units = DimensionUnits.of(GENERATOR)
    driven = drives(GENERATOR.modulation(0), EMBEDDINGS[1:2], units)
    # Constant gain of 1: the awareness is the offset.
    np.testing.assert_allclose(driven.awareness["latent"][:3], planted_dimensions.LATENT_WEIGHTS[:3], atol=1e-6)
    expected = planted_dimensions.EMBEDDING_WEIGHTS[:3] * units.embedding_deviation
    np.testing.assert_allclose(driven.awareness["embedding"][:3], expected, atol=1e-6)


def test_truncation_shortens_the_unit():
    generator = PlantedGenerator()
    generator.truncation = 0.5
    units = DimensionUnits.of(generator)
    assert units.latent_deviation == pytest.approx(generator.latent_deviation)
    driven = drives(generator.modulation(0), EMBEDDINGS[1:2], units)
    expected = planted_dimensions.LATENT_WEIGHTS[:3] * generator.latent_deviation
    np.testing.assert_allclose(driven.awareness["latent"][:3], expected, atol=1e-6)
    z = torch.zeros(1, 8)
    measured = responses(generator, CONCEPTS, z, 0, [("latent", 6)], (0.0, 2.0))
    codes = torch.zeros(1, 8)
    codes[0, 6] = 2 * generator.latent_deviation
    images = generator(codes, torch.zeros(1, dtype=torch.int64))
    assert measured.scores[0, 0, 1, 1] == pytest.approx(float(planted_dimensions.corner(images)), rel=1e-5)
