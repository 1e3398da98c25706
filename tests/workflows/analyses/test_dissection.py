"""Dissection of planted units by their closed form, and of the bundled models by a plain count."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from benchmarks.error_rates.concepts import audited as random_units
from benchmarks.error_rates.concepts import varying
from cawa_core.annotations import Annotations, read_annotations, write_annotations
from cawa_core.dissection.counts import ChanceOverlap
from cawa_core.dissection.dissect import SHARES, choose_thresholds, quantile_thresholds, unit_overlaps
from cawa_core.errors import InputError
from cawa_core.statistics.intervals import bootstrap_counts
from cawa_core.tables import Manifest
from tests.planted_units import CONSTANT, DEAD, EDGE, NOISE, NOISY, SHIFT, SHIFTED, SIDE, SQUARE, SquareSegmenter
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.unit_awareness.derivation import rank_test
from workflows.analyses.unit_concepts import FEWEST_OVERLAP, LEVEL
from workflows.analyses.unit_concepts import derivation as unit_concepts
from workflows.analyses.unit_concepts.sites import site_counts
from workflows.lab import Lab

PLANTED = dataclasses.replace(
    SMALL,
    generator="tests.planted_units:PlantedGenerator",
    segmenter="tests.planted_units:SquareSegmenter",
    evaluator="",
    real_images="",
    classes=(),
    stages=("dissection",),
    dissection_latents=40,
    dissection_threshold_latents=40,
)
GARMENTS = dataclasses.replace(
    SMALL,
    segmenter="garment-parts",
    classes=(1, 8),
    stages=("dissection",),
    dissection_latents=12,
    dissection_threshold_latents=20,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "audit"
    small_audit(folder, PLANTED)
    return Manifest.read(folder)


def test_overlaps_of_planted_units_have_their_closed_form(planted):
    table = planted.table("dissection")
    rows = table[(table.class_id == 1) & (table.concept == "square")].set_index("channel")
    square = EDGE**2
    assert (rows.present == 40 * square).all()
    assert (rows.pixels == 40 * SIDE**2).all()
    expected = {
        SQUARE: (square, square),
        SHIFTED: (square, EDGE * (EDGE - SHIFT)),
        NOISY: (square, square - NOISE),
        DEAD: (0, 0),
    }
    for unit, (on, both) in expected.items():
        assert (rows.on[unit], rows.both[unit]) == (40 * on, 40 * both)
        assert rows.iou[unit] == pytest.approx(both / (on + square - both))
    assert rows.on[CONSTANT] in (0, 40 * SIDE**2)  # neither tells anything
    assert rows.threshold[SQUARE] < 2
    assert rows.both_by_chance[SQUARE] < rows.both[SQUARE]
    absent = table[table.concept == "nothing here"]
    assert (absent.present == 0).all()
    assert not absent.iou.to_numpy()[absent.on > 0].any()


def test_units_that_draw_the_square_are_interpretable_over_all_classes(planted):
    units = planted.table("unit_concepts")
    best = units[units.is_best].set_index("channel")
    assert best.is_interpretable[[SQUARE, SHIFTED, NOISY]].all()
    assert not best.is_interpretable[[DEAD, CONSTANT]].any()
    assert (best.concept[[SQUARE, SHIFTED, NOISY]] == "square").all()
    assert (units[units.concept == "square"].n_classes == 2).all()
    by_class = planted.table("dissection")
    sums = by_class[by_class.concept == "square"].groupby("channel")[["on", "present", "both"]].sum()
    pd.testing.assert_frame_equal(
        units[units.concept == "square"].set_index("channel")[["on", "present", "both"]],
        sums,
        check_dtype=False,
        check_index_type=False,
    )


def test_the_counts_of_the_bundled_model_equal_a_plain_count():
    lab = Lab.open(needs=("segmenter",), segmenter="garment-parts")
    generator, segmenter = lab.generator, lab.segmenter
    z = lab.latents(8, 10)
    ids = torch.full((10,), 8)
    thresholds = choose_thresholds(generator, segmenter, lab.latents(3, 12), torch.full((12,), 3), [0, 3])
    overlaps = unit_overlaps(generator, segmenter, z, ids, thresholds)
    with torch.inference_mode():
        masks = segmenter.segment(generator(z, ids)).numpy()
        for site, counted in zip((0, 3), overlaps, strict=True):
            features = generator.run_to(site, z, ids).features
            large = torch.nn.functional.interpolate(features, (28, 28), mode="bilinear", align_corners=False).numpy()
            chosen = next(one.values for one in thresholds if one.site == site)
            for concept in range(len(segmenter.concepts)):
                on = large > chosen[:, concept][None, :, None, None]
                assert (counted.on[:, concept] == on.sum(axis=(0, 2, 3))).all()
                both = on & masks[:, concept][:, None]
                assert (counted.both[:, concept] == both.sum(axis=(0, 2, 3))).all()
                assert counted.present[concept] == masks[:, concept].sum()


def test_the_published_threshold_leaves_half_a_percent_of_the_pixels():
    lab = Lab.open(needs=("segmenter",), segmenter="garment-parts")
    z, ids = lab.latents(3, 24), torch.full((24,), 3)
    (thresholds,) = choose_thresholds(lab.generator, lab.segmenter, z, ids, [5], rule="quantile")
    assert (thresholds.chosen == thresholds.chosen[0, 0]).all()
    (overlaps,) = unit_overlaps(lab.generator, lab.segmenter, z, ids, [thresholds])
    share = overlaps.on[:, 0] / overlaps.pixels
    published = SHARES[::-1][thresholds.chosen[0, 0]]
    assert published == pytest.approx(0.005, rel=0.05)
    assert (share <= published).all()
    assert np.median(share[share > 0]) > 0.9 * published


def test_label_maps_of_a_segmenter_count_as_the_segmenter(tmp_path):
    """Painted as the segmenter labels them, images have the counts and chance that they have with the segmenter."""
    lab = Lab.open("scenes-biggan", needs=("segmenter",))
    generator, segmenter, sites = lab.generator, lab.segmenter, [3, 6]
    z, ids = lab.latents(5, 40), torch.arange(40) % 30
    with torch.inference_mode():
        label_maps = segmenter.segment(generator(z, ids))
    colours = {concept: (number, 7, 7) for number, concept in enumerate(segmenter.concepts)}
    write_annotations(tmp_path, Annotations(z, ids, label_maps, colours), generator)
    annotations = read_annotations(tmp_path, generator)
    other, spread = generator.sample_latents(0, 2, range(24)), torch.arange(24)
    by_segmenter = choose_thresholds(generator, segmenter, other, spread, sites, rule="quantile")
    by_nothing = quantile_thresholds(generator, len(segmenter.concepts), other, spread, sites, batch_size=5)
    for one, another in zip(by_segmenter, by_nothing, strict=True):
        assert one.site == another.site
        np.testing.assert_array_equal(one.candidates, another.candidates)
        np.testing.assert_array_equal(one.chosen, another.chosen)
        np.testing.assert_array_equal(one.values, another.values)
        assert np.isnan(another.iou).all()
    expected = unit_overlaps(generator, segmenter, z, ids, by_segmenter)
    counted = unit_overlaps(generator, annotations, annotations.z, annotations.class_ids, by_nothing)
    for one, another in zip(expected, counted, strict=True):
        assert (one.site, one.pixels) == (another.site, another.pixels)
        for name in ("present", "on", "both"):
            np.testing.assert_array_equal(getattr(one, name), getattr(another, name))
        np.testing.assert_array_equal(one.chance.mean, another.chance.mean)
        np.testing.assert_array_equal(one.chance.variance, another.chance.variance)
    assert sum(one.both.sum() for one in expected) > 0


def test_units_of_other_images_exceed_chance_as_rarely_as_stated():
    """Features of some latents against label maps of others, which have nothing to do with each other."""
    lab = Lab.open(needs=("segmenter",), segmenter="garment-parts")

    class Elsewhere(type(lab.segmenter)):
        """Labels other images of the same class, whatever it is given."""

        def segment(self, images):
            z = lab.generator.sample_latents(7, 1, range(len(images)))
            return super().segment(lab.generator(z, torch.full((len(images),), 1)))

    p_values = []
    z, ids = lab.latents(1, 32), torch.full((32,), 1)
    thresholds = choose_thresholds(lab.generator, lab.segmenter, z, ids, range(6))
    for overlaps in unit_overlaps(lab.generator, Elsewhere(), z, ids, thresholds):
        deviation = np.sqrt(overlaps.chance.variance)
        score = (overlaps.both - overlaps.chance.mean)[deviation > 0] / deviation[deviation > 0]
        p_values.append(score)
    scores = np.concatenate(p_values)
    assert len(scores) > 1000
    assert (scores > 1.645).mean() < 0.15  # one draw of 32 label maps, which all units share
    assert scores.std() < 1.5


def test_what_nothing_draws_is_found_as_rarely_as_stated():
    """Generators with random weights, and labels of pictures that they have not seen.

    One in twenty pairs of a unit and a concept has p at most 0.05, and hardly any a small q; by the published rule
    alone most units are interpretable.
    """
    audits = [random_units(seed, 2, 32) for seed in range(24)]
    pairs = pd.concat([varying(units) for units in audits])
    assert 0.03 < (pairs.p_value <= 0.05).mean() < 0.07
    assert (pairs.q_value <= LEVEL).mean() < 0.002
    assert sum((units.q_value <= LEVEL).any() for units in audits) <= 4
    best = pairs[pairs.is_best]
    assert best.is_interpretable.mean() < 0.002
    assert (best.iou > FEWEST_OVERLAP).mean() > 0.5


def test_rare_overlaps_are_tested_by_their_skewed_tail():
    """Few images show the concept: a normal tail would find far too many of the permutations unusual."""
    random = np.random.default_rng(0)
    few, more = ((torch.arange(32) < number)[:, None, None, None] for number in (4, 5))
    masks = torch.from_numpy(random.random((32, 1, 8, 8)) < 0.3) & few
    on = (torch.from_numpy(random.random((32, 1, 8, 8)) < 0.3) & more).byte()
    chosen = np.zeros((1, 1), np.int64)
    skewed, normal = [], []
    for _ in range(2000):
        chance = ChanceOverlap.none(1, 1)
        counted_on, both = chance.add(on[random.permutation(32)], masks, chosen)
        counts = pd.DataFrame({"site": [0], "channel": 0, "concept": "rare", "threshold": 0.0, "n_classes": 1})
        counts = counts.assign(on=counted_on[0], present=int(masks.sum()), both=both[0])
        moments = {
            "both_by_chance": chance.mean[0],
            "both_by_chance_variance": chance.variance[0],
            "both_by_chance_third_moment": chance.third_moment[0],
        }
        skewed.append(unit_concepts.tested(counts.assign(**moments)).p_value[0])
        without = moments | {"both_by_chance_third_moment": 0.0}
        normal.append(unit_concepts.tested(counts.assign(**without)).p_value[0])
    for level in (0.05, 0.01):
        assert np.mean(np.array(skewed) <= level) < 1.6 * level
    assert np.mean(np.array(skewed) <= 0.001) < 0.002
    assert np.mean(np.array(normal) <= 0.001) > 0.003


def test_interpretable_units_are_counted_with_intervals_over_classes():
    """Counts and their resamples equal a plain loop over units."""
    random = np.random.default_rng(1)
    concepts, n_classes, n_units = ("a", "b", "c"), 6, 9
    index = pd.MultiIndex.from_product(
        [range(n_classes), range(n_units), concepts], names=["class_id", "channel", "concept"]
    )
    rows = pd.DataFrame(
        {"present": random.integers(0, 60, len(index)), "on": random.integers(0, 60, len(index))}, index
    )
    rows["both"] = (rows.min(axis=1) * random.random(len(index)) * 0.4).astype(int)
    rows = rows.reset_index()
    units = pd.DataFrame(
        [(unit, concept, random.random() * 0.1) for unit in range(n_units) for concept in concepts],
        columns=["channel", "concept", "q_value"],
    )
    draws = bootstrap_counts(n_classes, 50, random)
    of_site, of_concepts = site_counts(rows.sample(frac=1, random_state=2), units.sample(frac=1, random_state=3), draws)

    def counted(weights, level):
        numbers = dict.fromkeys(concepts, 0)
        for unit in range(n_units):
            sums = rows[rows.channel == unit].assign(weight=lambda part: weights[part.class_id])
            by_concept = {
                name: [float((part[column] * part.weight).sum()) for column in ("on", "present", "both")]
                for name, part in sums.groupby("concept")
            }
            iou = {name: both / (on + here - both) for name, (on, here, both) in by_concept.items()}
            best = max(iou, key=iou.get)
            q_value = units[(units.channel == unit) & (units.concept == best)].q_value.item()
            numbers[best] += iou[best] > FEWEST_OVERLAP and q_value <= level
        return numbers

    observed = counted(np.ones(n_classes), LEVEL)
    resampled = [counted(weights, LEVEL) for weights in draws]
    assert of_site["units"] == n_units
    assert 0 < of_site["interpretable"] == sum(observed.values()) < n_units
    assert of_site["by_published_rule"] == sum(counted(np.ones(n_classes), 1).values())
    assert of_site["detected"] == sum(number > 0 for number in observed.values())
    ends = np.quantile([sum(numbers.values()) for numbers in resampled], [0.025, 0.975])
    assert [of_site["interpretable_low"], of_site["interpretable_high"]] == pytest.approx(ends)
    assert ends[0] < ends[1]
    for row in of_concepts:
        ends = np.quantile([numbers[row["concept"]] for numbers in resampled], [0.025, 0.975])
        assert (row["units"], row["units_low"], row["units_high"]) == (observed[row["concept"]], *ends)
    alone, _ = site_counts(rows[rows.class_id == 0], units, draws[:, :1])
    assert np.isnan(alone["interpretable_low"])


def test_awareness_stands_beside_the_concept_of_each_channel(tmp_path):
    """Means over classes, and a rank correlation that is SciPy's, with the level of its permutation test."""
    spec = dataclasses.replace(GARMENTS, stages=("awareness", "masking", "dissection"), masking_latents=2)
    small_audit(tmp_path / "audit", spec)
    manifest = Manifest.read(tmp_path / "audit")
    units = manifest.table("unit_awareness").set_index(["site", "channel"])
    awareness = manifest.table("awareness")
    exact = awareness[awareness.estimator == "closed_form"].groupby(["site", "channel"]).category_awareness
    expected = exact.apply(lambda values: values.astype(float).abs().mean())
    np.testing.assert_allclose(units.category_awareness, expected.loc[units.index], rtol=1e-5)
    best = manifest.table("unit_concepts")
    best = best[best.is_best].set_index(["site", "channel"]).loc[units.index]
    assert (units.concept == best.concept).all()
    rows = manifest.table("unit_awareness_correlation").set_index(["target", "site", "predictor"])
    assert rows.loc["weight"].spearman.isna().all()  # nothing was optimised
    of_site = units.loc[3].dropna(subset=["iou_beyond_chance"])
    for predictor in ("category_awareness", "masking_effect"):
        r = stats.spearmanr(of_site[predictor], of_site.iou_beyond_chance).statistic
        assert rows.spearman["iou_beyond_chance", 3, predictor] == pytest.approx(r, abs=1e-6)
    random = np.random.default_rng(0)
    tests = [rank_test(*random.normal(size=(2, 20)), 99, random)["p_value"] for _ in range(300)]
    assert 0.02 < np.mean(np.array(tests) <= 0.05) < 0.09
    assert np.isnan(rank_test(np.ones(9), np.arange(9.0), 20, random)["p_value"])


@pytest.mark.parametrize("options", [{"classes_per_shard": 1}, {"batch_size": 5}])
def test_shards_and_batches_change_no_count(tmp_path, options):
    small_audit(tmp_path / "one", GARMENTS)
    small_audit(tmp_path / "other", GARMENTS, **options)
    one, other = (Manifest.read(tmp_path / name).table("dissection") for name in ("one", "other"))
    if "batch_size" in options:  # rounding may move single values across a threshold
        pd.testing.assert_frame_equal(one, other, atol=2, rtol=1e-3, check_exact=False)
    else:
        pd.testing.assert_frame_equal(one, other)


class NothingSeen(SquareSegmenter):
    def segment(self, images):
        return torch.full(images[:, 0].shape, -1)


class OtherSize(SquareSegmenter):
    def segment(self, images):
        return super().segment(images)[:, :8, :8]


class OtherLabels(SquareSegmenter):
    def segment(self, images):
        return super().segment(images) + 2


class Fractions(SquareSegmenter):
    def segment(self, images):
        return images[:, 0]


class TwoOfOneName(SquareSegmenter):
    concepts = ("square", "square")


@pytest.mark.parametrize(
    ("segmenter", "message"),
    [
        ("NothingSeen", "finds none of its 2 concepts in 8 images"),
        ("OtherSize", r"must return integer label maps \[8, 16, 16\] or bool \[8, 2, 16, 16\]; it returned int64"),
        ("OtherLabels", "must be in -1..1, for its 2 concepts; got 2"),
        ("Fractions", "it returned float32"),
        ("TwoOfOneName", "must be different names"),
    ],
)
def test_segmenters_that_do_not_fit_are_refused(tmp_path, segmenter, message):
    spec = dataclasses.replace(PLANTED, segmenter=f"tests.workflows.analyses.test_dissection:{segmenter}")
    with pytest.raises(InputError, match=message):
        small_audit(tmp_path / "audit", spec)
    assert not (tmp_path / "audit").exists()


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="dissection_latents must be at least 2; got 1"):
        small_audit(tmp_path / "audit", dataclasses.replace(PLANTED, dissection_latents=1))
    with pytest.raises(InputError, match="segmenter must be given for tests"):
        small_audit(tmp_path / "audit", dataclasses.replace(PLANTED, segmenter=""))
