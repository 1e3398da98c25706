"""Directions: planted controls are found both ways; a concept that nothing controls has none; numbers by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from cawa_core.directions.direction import Direction
from cawa_core.directions.manipulation import concept_changes
from cawa_core.generators.base import class_ids_of
from cawa_core.latents.dimensions import DimensionUnits
from tests.planted_dimensions import CONTROLS, PlantedGenerator
from tests.workflows.analyses.test_latents import PLANTED, named, planted_dimensions  # noqa: F401
from tests.workflows.conftest import SMALL
from workflows.analyses.directions import DirectionOptions
from workflows.analyses.directions.results import (
    _crossing,
    changes_at_equal_realism,
    concept_rows,
    translation_rows,
    with_sets,
)
from workflows.analyses.directions.search import directions_of
from workflows.analyses.directions.steps import FIRST_MEASURED
from workflows.analyses.directions.translation import partners_of, translations
from workflows.analyses.directions.work import DirectionsWork
from workflows.analyses.latents.measurements import concept_scores
from workflows.lab import Lab
from workflows.options.audit import options_as
from workflows.options.run import RunOptions


@pytest.mark.parametrize("way", ["sequential", "optimised"])
@pytest.mark.parametrize("concept", ["background", "corner"])
def test_the_planted_dimensions_are_the_set(planted_dimensions, way, concept):  # noqa: F811
    sets = planted_dimensions.table("controlling_sets")
    (row,) = sets[(sets.concept == named(concept)) & (sets.space == "latent") & (sets.way == way)].head(1).itertuples()
    assert dict(zip(row.dimensions, np.sign(row.weights), strict=True)) == CONTROLS[concept]
    assert row.confirmation_p_value < 0.01
    assert row.confirmed_change > 0


def test_the_planted_direction_has_the_planted_proportions(planted_dimensions):  # noqa: F811
    """Background brightness reads 0.3 z1 - 0.2 z4, so the best direction is that, of norm 1."""
    sets = planted_dimensions.table("controlling_sets")
    rows = sets[(sets.concept == named("background")) & (sets.space == "latent") & (sets.class_id == 0)]
    planted = np.zeros(8)
    planted[[1, 4]] = np.array([0.3, -0.2]) / np.hypot(0.3, 0.2)
    for row in rows.itertuples():
        weights = np.zeros(8)
        weights[row.dimensions] = row.weights
        assert weights @ planted > (0.97 if row.way == "sequential" else 0.9)


@pytest.mark.parametrize("concept", ["chaos", "constant"])
def test_what_nothing_controls_has_an_empty_set(planted_dimensions, concept):  # noqa: F811
    sets = planted_dimensions.table("controlling_sets")
    rows = sets[sets.concept == named(concept)]
    assert len(rows)
    assert (rows.dimensions.map(len) == 0).all()
    directions = planted_dimensions.table("directions")
    assert not directions[
        (directions.concept == named(concept)) & directions.way.isin(["sequential", "optimised"])
    ].size


def test_the_embedding_dimension_that_controls_the_background_is_found(planted_dimensions):  # noqa: F811
    sets = planted_dimensions.table("controlling_sets")
    rows = sets[(sets.concept == named("background")) & (sets.space == "embedding")]
    assert all(list(dimensions) == [2] for dimensions in rows.dimensions)
    assert all(
        list(dimensions) == []
        for dimensions in sets[(sets.concept == named("corner")) & (sets.space == "embedding")].dimensions
    )


def test_steps_are_those_by_hand(planted_dimensions):  # noqa: F811
    lab = Lab.from_spec(PLANTED, RunOptions(), ("evaluator",))
    generator = PlantedGenerator()
    concepts = concept_scores(lab, PLANTED)
    place = concepts.concepts.index(named("background"))
    directions = directions_of(lab, PLANTED, "latent", None)[place]
    weights = directions.by_way["sequential"]
    z = generator.sample_latents(PLANTED.seed, 4, range(FIRST_MEASURED, FIRST_MEASURED + PLANTED.direction_latents))
    steps = [(Direction.in_space("latent", weights, generator), 2.0)]
    changes = concept_changes(generator, concepts, z, class_ids_of(4, z), steps, DimensionUnits.of(generator))[0]
    rows = planted_dimensions.table("directions")
    key = (
        (rows.class_id == 4) & (rows.concept == named("background")) & (rows.way == "sequential") & (rows.strength == 2)
    )
    (row,) = rows[key & (rows.space == "latent")].itertuples()
    assert row.change == pytest.approx(float(changes[:, place].mean()), rel=1e-4)
    assert row.n_dimensions == 2
    rescored = planted_dimensions.table("direction_rescoring")
    same = rescored[(rescored.class_id == 4) & (rescored.space == "latent") & (rescored.way == "sequential")]
    matrix = same.pivot(index="concept", columns="scored_concept", values="change_size")
    assert matrix.loc[named("background"), named("background")] == pytest.approx(row.change_size)
    assert matrix.loc[named("background"), named("corner")] == 0


def test_effects_of_the_table_and_measured_ones_choose_the_same_directions(planted_dimensions):  # noqa: F811
    recorded, measured = (
        directions_of(Lab.from_spec(PLANTED, RunOptions(), ("evaluator",)), PLANTED, "latent", earlier)
        for earlier in (planted_dimensions, None)
    )
    for left, right in zip(recorded, measured, strict=True):
        assert left.by_way.keys() == right.by_way.keys()
        for way in left.by_way:
            torch.testing.assert_close(left.by_way[way], right.by_way[way], atol=1e-4, rtol=1e-3)


def test_translation_by_all_embedding_dimensions_is_the_target_class(planted_dimensions):  # noqa: F811
    rows = planted_dimensions.table("translations")
    whole = rows[rows.way.isin(["embedding", "random embedding"]) & (rows.n_dimensions == rows.n_dimensions.max())]
    pairs = whole.pivot(index="class_id", columns="way", values="target_probability")
    np.testing.assert_allclose(pairs["embedding"], pairs["random embedding"], rtol=1e-5)
    assert (rows.flip_rate >= 0).all()
    lab = Lab.from_spec(PLANTED, RunOptions(), ("evaluator",))
    assert set(rows[rows.class_id == 0].target_class) == set(partners_of(lab, 0, 1))


def test_the_partner_is_the_class_of_the_closest_embedding():
    lab = Lab.from_spec(dataclasses.replace(SMALL, classes=(0,)), RunOptions(), ("evaluator",))
    embeddings = lab.class_embeddings
    distances = torch.cdist(embeddings, embeddings).fill_diagonal_(torch.inf)
    for class_id in range(10):
        assert partners_of(lab, class_id, 1) == [int(distances[class_id].argmin())]
    assert len(partners_of(lab, 0, 99)) == 9


def test_a_generator_that_takes_class_indices_has_no_closest_class(monkeypatch):
    lab = Lab.from_spec(dataclasses.replace(SMALL, classes=(0,)), RunOptions(), ("evaluator",))
    monkeypatch.setattr(type(lab.generator), "takes_embeddings", False)
    options = options_as(DirectionOptions, dataclasses.replace(SMALL, translation_latents=2))
    assert list(translations(lab, options, 0, "latent")) == []


def test_the_cost_counts_classes_whose_effects_no_stage_has():
    spec = dataclasses.replace(SMALL, classes=(0,))
    lab = Lab.from_spec(spec, RunOptions(), ("evaluator",))
    few, many = (
        DirectionsWork().cost(lab, dataclasses.replace(options_as(DirectionOptions, spec), direction_classes=n), 0, ())
        for n in (1, 10)
    )
    of_class = len(spec.latent_dimensions) * len(spec.latent_grid) * spec.latent_samples
    assert many.passes - few.passes == pytest.approx(9 * of_class)


STRENGTHS = np.array([0.0, 1.0, 2.0, 4.0])


def test_change_where_realism_is_lost_is_interpolated():
    """5% of 1.0 is lost halfway from 1 (0.97) to 2 (0.93): the limit is 0.95."""
    crossing = _crossing(STRENGTHS, np.array([1, 0.97, 0.93, 0.5]), np.array([0, 0.4, 0.8, 1.0]))
    assert crossing[:2] == pytest.approx((0.6, 1.5))
    assert crossing[2]
    assert _crossing(STRENGTHS, np.ones(4), np.arange(4.0)) == (3.0, 4.0, False)


class FewResamples:
    """Two resamples of two classes, which are known."""

    def weights(self, n):
        return np.array([[1.0, 0.0], [0.5, 0.5]])[:, :n]

    def means(self, columns):
        return {name: columns[name].mean() for name in columns} | {f"{name}_ci": None for name in columns}


def rows_of_ways(**ways):
    """Return rows of two classes: changes by way, with one column per draw."""
    return pd.DataFrame(
        [
            {
                "class_id": class_id,
                "concept": "tree",
                "space": "latent",
                "way": way,
                "draw": draw,
                "strength": 2.0,
                "change_size": value,
                "realism": 0.9,
                "realism_before": 1.0,
            }
            for way, draws in ways.items()
            for draw, values in enumerate(draws)
            for class_id, value in enumerate(values)
        ]
    )


def test_a_set_is_compared_with_the_size_of_what_random_sets_change_over_all_classes():
    rows = rows_of_ways(sequential=[[1.0, 0.8]], random=[[0.2, -0.1], [-0.3, -0.1]])
    (entry,) = concept_rows(rows, 2.0, {("tree", "latent", "sequential"): 3}, FewResamples())
    assert entry["sequential"] == pytest.approx(0.9)
    assert entry["random"] == pytest.approx((0.05 + 0.2) / 2)
    assert entry["times_chance"] == pytest.approx(0.9 / 0.125)
    assert entry["n_dimensions"] == {"sequential": 3, "optimised": None}
    assert entry["optimised"] is None


def test_concepts_without_a_set_are_not_averaged():
    rows = rows_of_ways(sequential=[[1.0, 0.8]], random=[[0.2, -0.1]])
    other = rows_of_ways(random=[[0.2, -0.1]]).assign(concept="door")
    assert set(with_sets(pd.concat([rows, other])).concept) == {"tree"}
    entries = changes_at_equal_realism(pd.concat([rows, other]), FewResamples())
    assert {entry["way"] for entry in entries} == {"sequential", "random"}


def test_flip_rates_are_means_over_classes():
    rows = pd.DataFrame(
        {
            "class_id": [0, 1],
            "way": "embedding",
            "n_dimensions": 4,
            "strength": 1.0,
            "flip_rate": [0.5, 1.0],
            "target_probability": [0.4, 0.8],
            "flip_rate_before": 0.0,
        }
    )
    (entry,) = translation_rows(rows, FewResamples())
    assert (entry["flip_rate"], entry["n_dimensions"], entry["n_classes"]) == (0.75, 4, 2)
