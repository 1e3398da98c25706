"""Effects of planted units by their closed form; effects on the bundled models by changes by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from cawa_core.dissection.concept_effects import free_squares
from cawa_core.dissection.removal import by_site
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import masks_at, run
from cawa_core.segmenters.base import concept_masks
from cawa_core.tables import Manifest
from tests.planted_effects import DRAWS, WITNESS
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.concept_effects.results import context_shares, removal_gains, shares_by_class
from workflows.analyses.concept_effects.work import awareness_of, ranked, sets_of
from workflows.lab import Lab
from workflows.options.run import RunOptions
from workflows.results.class_resamples import ClassResamples

PLANTED = dataclasses.replace(
    SMALL,
    generator="tests.planted_effects:CausalGenerator",
    segmenter="tests.planted_effects:SoftSquareSegmenter",
    evaluator="",
    real_images="",
    classes=(),
    stages=("awareness", "dissection", "concept_effects"),
    dissection_latents=8,
    dissection_threshold_latents=24,
    effect_latents=6,
    effect_sizes=(1, 2),
    effect_inserted=1,
    effect_steps=30,
    effect_random_sets=3,
)
GARMENTS = dataclasses.replace(
    SMALL,
    segmenter="garment-parts",
    classes=(1, 8),
    stages=("awareness", "dissection", "concept_effects"),
    dissection_latents=4,
    dissection_threshold_latents=20,
    effect_latents=4,
    effect_sizes=(3,),
    effect_inserted=5,
    effect_random_sets=1,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "audit"
    small_audit(folder, PLANTED)
    return Manifest.read(folder)


@pytest.fixture(scope="module")
def garments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("garments") / "audit"
    small_audit(folder, GARMENTS)
    return Manifest.read(folder)


def shares(manifest, change):
    """Share left or shown, by ranking and number of units, of both classes alike."""
    table = shares_by_class(manifest.table("concept_effects"))
    rows = table[(table.change == change) & (table.concept == "square")]
    return {(row.ranking, row.n_units): row.share for row in rows[rows.class_id == 1].itertuples()}


def test_the_unit_that_draws_is_told_from_the_one_that_goes_with_it(planted):
    """Both overlap perfectly, and the witness comes first by its number; the optimised set knows better."""
    left = shares(planted, "removal")
    assert left["optimised", 1] == left["optimised", 2] == 0
    assert (left["overlap", 1], left["overlap", 2]) == (1, 0)
    shown = shares(planted, "insertion")
    assert (shown["optimised", 1], shown["overlap", 1]) == (1, 0)


def test_the_weights_are_those_of_units_with_an_effect(planted):
    units = planted.table("concept_units")
    weights = units[(units.concept == "square") & (units.class_id == 0)].set_index("channel").weight
    assert weights[DRAWS] > 0.9
    assert weights.get(WITNESS, 0) < weights[DRAWS] / 2
    values = units[units.channel == DRAWS].inserted_value
    assert (values == 2).all()


def test_random_sets_are_as_good_as_their_units(planted):
    """A set of all units but one that draws nothing leaves nothing, one without the unit that draws leaves all."""
    table = planted.table("concept_effects")
    rows = table[(table.ranking == "random") & (table.change == "removal")]
    assert set(rows.draw) == {0, 1, 2}
    assert ((rows.after == 0) | (rows.after == rows.before)).all()


def test_a_concept_that_nothing_shows_has_no_rows(planted):
    assert set(planted.table("concept_effects").concept) == {"square"}


def test_claims_over_planted_classes(planted):
    gains = removal_gains(shares_by_class(planted.table("concept_effects")))
    assert gains["optimised over overlap"]["concepts_with_gain"] == 1
    assert gains["optimised over overlap"]["typical_gain"]["median"] == pytest.approx(0.5)


def test_a_rule_without_probabilities_ranks_by_overlap(garments):
    table = garments.table("concept_effects")
    assert set(table.ranking) == {"overlap", "category_awareness", "random"}
    assert garments.table("concept_units").empty
    assert removal_gains(shares_by_class(table))["optimised over overlap"] is None


def test_removal_on_the_bundled_model_is_that_by_hand(garments):
    """Most class-aware units set to zero, and pixels of a concept counted in the images that showed it."""
    lab = Lab.from_spec(GARMENTS, RunOptions(), ("segmenter",))
    order = ranked(awareness_of(lab, 8))[:3]
    z = lab.latents(8, 4)
    ids = class_ids_of(8, z)
    with torch.inference_mode():
        before = concept_masks(lab.segmenter, lab.generator(z, ids))
        after = concept_masks(lab.segmenter, run(lab.generator, z, ids, masks_at(by_site(order))))
    table = garments.table("concept_effects")
    rows = table[(table.class_id == 8) & (table.change == "removal") & (table.ranking == "category_awareness")]
    assert len(rows) > 3
    for row in rows.itertuples():
        place = lab.segmenter.concepts.index(row.concept)
        shown = before[:, place].any(dim=(1, 2))
        assert row.n_images == int(shown.sum())
        assert row.before == int(before[shown, place].sum())
        assert row.after == int(after[shown, place].sum())


def test_inserted_pixels_and_contexts_add_up(garments):
    table, contexts = garments.table("concept_effects"), garments.table("insertion_contexts")
    inserted = table[(table.change == "insertion") & (table.ranking == "overlap")].set_index(["class_id", "concept"])
    sums = contexts.groupby(["class_id", "concept"])[["n_images", "pixels", "after"]].sum()
    both = sums.merge(inserted, left_index=True, right_index=True, suffixes=("", "_inserted"))
    assert (both.n_images == both.n_images_inserted).all()
    assert (both.pixels == both.pixels_inserted).all()
    assert (both.after == both.after_inserted).all()
    assert all(0 <= row["share"] <= 1 for row in context_shares(contexts, ClassResamples(0, 50)))


def test_squares_are_free_and_on_the_cells_of_the_coarsest_site(tiny_generator):
    random = np.random.default_rng(0)
    shown = random.random((20, 28, 28)) < 0.002
    shown[0] = True
    squares = free_squares(shown, tiny_generator, random)
    assert not (squares & shown).any()
    assert not squares[0].any()
    step = 28 // tiny_generator.sites[0].resolution
    for square in squares[squares.any(axis=(1, 2))]:
        rows, columns = np.nonzero(square)
        assert rows.min() % step == columns.min() % step == 0
        assert square.sum() == (np.ptp(rows) + 1) ** 2


def test_sets_do_not_depend_on_the_classes_of_the_audit():
    first, other = (
        sets_of(Lab.from_spec(spec, RunOptions(), ("segmenter",)), spec, "upper half")
        for spec in (GARMENTS, dataclasses.replace(GARMENTS, classes=(3,)))
    )
    for one, two in zip(first.overlap + first.values, other.overlap + other.values, strict=True):
        assert torch.equal(one, two)


def test_more_units_than_there_are_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="effect_sizes and effect_inserted must be at most 4, the units of planted"):
        small_audit(tmp_path / "audit", dataclasses.replace(PLANTED, effect_sizes=(5,)))
