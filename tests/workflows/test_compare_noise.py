"""By simulation: without a change a comparison finds none more often than stated, and it finds what there is."""

import numpy as np
import pandas as pd
import pytest

from cawa_core.class_metrics.records import METRICS
from cawa_core.statistics.many_tests import adjusted
from workflows.analyses.awareness.turnover import overlaps
from workflows.analyses.class_metrics import CLASS_METRICS_TABLE
from workflows.analyses.class_metrics.metric_changes import metric_changes
from workflows.analyses.class_metrics.noise import (
    binomial,
    bound_of_pairs,
    exact_share_p_values,
    from_halves,
    from_spread,
    heavy_tailed,
)
from workflows.compare.options import comparison_spec
from workflows.compare.significance import difference_p_values, shift_p_value

ANYTHING = comparison_spec(**{metric.threshold_option: 0.0 for metric in METRICS})
"""Whatever is significant counts."""

N_FAKE = 200
LEVELS = {"precision": 0.8, "recall": 0.5, "coverage": 0.85, "classifier_accuracy": 0.95}


def simulated(random, truth, factor=1.0, n_fake=N_FAKE, spread=0.1):
    """Tables ``class_metrics`` and ``class_metric_floor`` of one audit.

    Shares of fakes are binomial; recall and coverage vary 1.8 times as much (beta-binomial). Distances and density
    are means over two halves of the fakes; the floor has the first half, and a bias of its own.

    Args:
        truth: the classes' true values by metric ``[n_classes]``.
        factor: by which distances are worse than that.
        n_fake: generated images per class.
        spread: noise of half of the fakes on the scale of roots; one number, or one for each class.
    """
    n_classes = len(truth["fid"])
    whole, half = {"class_id": np.arange(n_classes)}, {"class_id": np.arange(n_classes)}
    for metric in LEVELS:
        share = truth[metric]
        if metric in ("recall", "coverage"):
            correlation = 0.8 / (n_fake - 1)
            strength = (1 - correlation) / correlation
            share = random.beta(share * strength, (1 - share) * strength)
        whole[metric] = random.binomial(n_fake, share) / n_fake
        half[metric] = random.binomial(n_fake // 2, share) / (n_fake // 2)
    for metric in ("density", "fid", "kid"):
        halves = random.normal(0, spread, (2, n_classes))
        root = np.sqrt(truth[metric] * factor)
        whole[metric] = (root + halves.mean(axis=0)) ** 2
        half[metric] = (1.1 * root + halves[0]) ** 2
    whole["ms_ssim"] = truth["ms_ssim"] + random.normal(0, 0.1 * np.asarray(spread), n_classes)
    floor = pd.DataFrame({"ms_ssim": 0.0, "n_fake": n_fake // 2, "n_real": n_fake // 2, **half})
    floors = [floor.assign(comparison=kind) for kind in ("real_real", "fake_real")]
    counts = {"class_name": "c", "n_fake": n_fake, "n_real": n_fake, "ms_ssim_images": 100}
    return pd.DataFrame({**counts, **whole}), pd.concat(floors, ignore_index=True)


def truth_of(random, n_classes):
    truth = {metric: np.full(n_classes, level) for metric, level in LEVELS.items()}
    levels = {metric: random.lognormal(0, 0.5, n_classes) for metric in ("density", "fid", "kid")}
    return truth | levels | {"ms_ssim": random.uniform(0.2, 0.5, n_classes)}


def judged(one, other, spec=ANYTHING):
    thresholds = {metric.name: getattr(spec, metric.threshold_option) for metric in METRICS}
    return metric_changes(one[0], other[0], one[1], other[1], thresholds, spec.false_discovery_rate)


@pytest.mark.parametrize(
    ("n_classes", "simulations"), [(4, 200), pytest.param(10, 60, marks=pytest.mark.slow), (100, 200)]
)
def test_without_a_change_false_alarms_are_no_more_than_stated(n_classes, simulations):
    """Three standard deviations of the share of simulations above the stated level are allowed."""
    random, alarms = np.random.default_rng(n_classes), 0
    for _ in range(simulations):
        truth = truth_of(random, n_classes)
        classes, totals = judged(simulated(random, truth), simulated(random, truth))
        alarms += bool({*classes.verdict, *totals.verdict} & {"worse", "better"})
    level = ANYTHING.false_discovery_rate
    assert alarms / simulations <= level + 3 * np.sqrt(level * (1 - level) / simulations)


@pytest.mark.parametrize(("n_classes", "factor"), [(4, 9.0), (10, 2.5), (100, 1.5)])
def test_a_shift_of_all_classes_is_found_in_total(n_classes, factor):
    """Four classes give half samples four degrees of freedom: only a large shift is beyond doubt."""
    random = np.random.default_rng(0)
    truth = truth_of(random, n_classes)
    _, totals = judged(simulated(random, truth), simulated(random, truth, factor), comparison_spec())
    verdicts = totals.set_index("metric").verdict
    assert verdicts[["fid", "kid"]].to_list() == ["worse", "worse"]
    assert verdicts.density == "better"
    assert set(verdicts[["precision", "recall", "coverage", "classifier_accuracy", "ms_ssim"]]) == {"within noise"}


def test_a_shift_of_all_classes_that_no_class_shows_alone():
    random = np.random.default_rng(1)
    truth = truth_of(random, 200) | {"ms_ssim": np.full(200, 0.3)}
    lower = truth | {"classifier_accuracy": truth["classifier_accuracy"] - 0.06, "ms_ssim": np.full(200, 0.36)}
    classes, totals = judged(simulated(random, truth), simulated(random, lower), comparison_spec())
    verdicts = totals.set_index("metric").verdict
    assert (verdicts.classifier_accuracy, verdicts.ms_ssim) == ("worse", "worse")
    assert (classes[classes.metric == "classifier_accuracy"].verdict == "worse").mean() < 0.5


def test_damage_of_a_few_classes_of_many_is_named_and_nothing_else():
    random = np.random.default_rng(2)
    truth = truth_of(random, 1000)
    worse = {metric: values.copy() for metric, values in truth.items()}
    worse["precision"][:5], worse["fid"][5:10] = 0.3, 9 * truth["fid"][5:10] + 1
    classes, totals = judged(simulated(random, truth), simulated(random, worse), comparison_spec())
    named = {(row.metric, row.class_id) for row in classes[classes.verdict == "worse"].itertuples()}
    planted = {("precision", one) for one in range(5)} | {("fid", one) for one in range(5, 10)}
    assert planted <= named
    assert len(named - planted) <= 1
    assert "worse" not in set(totals.verdict)


FEW_FAKES = 24
TEN_PERCENT = comparison_spec(false_discovery_rate=0.1)


def uneven(random, n_classes):
    """True values, and noise that differs between the classes by factors of up to ten."""
    return truth_of(random, n_classes), random.lognormal(np.log(0.3), 0.5, n_classes)


def test_two_seeds_of_few_fakes_are_not_worse_however_uneven_the_noise_of_the_classes():
    """Three standard deviations are allowed."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(20):
        truth, spread = uneven(random, 200)
        pair = [simulated(random, truth, n_fake=FEW_FAKES, spread=spread) for _ in range(2)]
        classes, totals = judged(*pair, TEN_PERCENT)
        alarms += bool({*classes.verdict, *totals.verdict} & {"worse", "better"})
    assert alarms / 20 <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 20)


def test_damaged_classes_are_named_and_hardly_any_other_however_uneven_the_noise_of_the_classes():
    """Five of 200, in ten simulations: all of them, and one other class in ten of those named at most."""
    random = np.random.default_rng(1)
    planted = set(range(5))
    shares = []
    for _ in range(10):
        truth, spread = uneven(random, 200)
        worse = {metric: values.copy() for metric, values in truth.items()}
        for metric in ("precision", "recall", "coverage", "classifier_accuracy"):
            worse[metric][:5] = 0.02
        worse["fid"][:5] = 50
        tables = (simulated(random, one, n_fake=FEW_FAKES, spread=spread) for one in (truth, worse))
        classes, _ = judged(*tables, TEN_PERCENT)
        named = set(classes[classes.verdict.isin(["worse", "better"])].class_id)
        assert planted <= named
        shares.append(len(named - planted) / len(named))
    assert np.mean(shares) <= TEN_PERCENT.false_discovery_rate
    assert shares.count(0) >= 8


def test_a_share_of_independent_images_is_tested_exactly():
    """At 24 images and p = 1e-4, the normal approximation on the arcsine scale is 1.5 times too often wrong."""
    from scipy.stats import binom, fisher_exact

    hits, counts = np.meshgrid(np.arange(25.0), np.arange(25.0)), np.full(625, 24.0)
    base, new = (side.reshape(-1) / 24 for side in hits)
    p_values = exact_share_p_values(base, new, counts, counts)
    for share in (0.05, 0.2, 0.5):
        chance = binom.pmf(base * 24, 24, share) * binom.pmf(new * 24, 24, share)
        for level in (0.05, 1e-3, 1e-4):
            assert chance[p_values <= level].sum() <= level
    assert p_values[3] == pytest.approx(fisher_exact([[3, 21], [0, 24]]).pvalue)
    assert np.isnan(exact_share_p_values(np.array([np.nan]), np.ones(1), np.ones(1), np.ones(1))[0])


@pytest.mark.parametrize(("freedom", "most"), [(3, 8), (1000, 1001)])
def test_heavy_tails_are_seen_and_scaled_by_their_middle(freedom, most):
    noise = 2 * np.random.default_rng(0).standard_t(freedom, 400)
    scale, d = heavy_tailed(noise)
    assert d <= most
    assert (d < 8) == (freedom == 3)
    assert scale == pytest.approx(2, rel=0.2)


def test_a_significant_change_below_the_threshold_is_no_regression():
    random = np.random.default_rng(3)
    truth = truth_of(random, 300)
    lower = truth | {"classifier_accuracy": truth["classifier_accuracy"] - 0.03}
    _, totals = judged(simulated(random, truth), simulated(random, lower), comparison_spec())
    assert totals.set_index("metric").verdict.classifier_accuracy == "below threshold"


def test_kid_has_the_noise_of_the_fakes_that_it_looks_at():
    """Of 50,000 fakes, 10,000: the noise of the whole is known from halves of what counts."""
    random = np.random.default_rng(4)
    before, after = (simulated(random, truth_of(np.random.default_rng(5), 40)) for _ in range(2))
    found = {}
    for n_fake in (10_000, 50_000):
        tables = [(whole.assign(n_fake=n_fake), floor) for whole, floor in (before, after)]
        classes, _ = judged(*tables, comparison_spec())
        found[n_fake] = classes[classes.metric == "kid"].p_value.to_numpy()
    np.testing.assert_array_equal(found[10_000], found[50_000])


def test_half_samples_give_the_noise_of_the_whole_whatever_the_change():
    """A mean of n draws of variance 1, moved by 3 in every class: 1 / sqrt(n) within 10% at 400 classes."""
    random = np.random.default_rng(0)
    m, n = 30, 100
    draws = random.normal(3, 1, (400, n))
    found = from_halves(draws.mean(axis=1), draws[:, :m].mean(axis=1), np.full(400, n), np.full(400, m))
    assert np.median(found.stderr) == pytest.approx(1 / np.sqrt(n), rel=0.1)
    assert found.freedom >= 10
    few = from_halves(draws[:20].mean(axis=1), draws[:20, :m].mean(axis=1), np.full(20, n), np.full(20, m))
    assert (few.freedom, few.source) == (4, "half samples")
    assert np.median(few.stderr) == pytest.approx(1 / np.sqrt(n), rel=0.4)


def test_noise_that_is_unknown_stays_unknown():
    differences = np.array([0.0, 0.1, -0.2])
    found = from_spread(differences)
    assert found.source == "unknown"
    np.testing.assert_array_equal(found.p_values(differences), [1, np.nan, np.nan])
    same = np.full(5, 100.0)
    assert from_halves(np.ones(5), np.ones(5), same, same).source == "unknown"


@pytest.mark.parametrize("n_classes", [1, 2])
def test_unknown_noise_makes_no_total_and_is_no_test(n_classes):
    """Half samples of fewer than three classes say nothing; shares have theirs from theory."""
    random = np.random.default_rng(0)
    truth = truth_of(random, n_classes)
    _, totals = judged(simulated(random, truth), simulated(random, truth, 100.0))
    rows = totals.set_index("metric")
    blind = rows.loc[["fid", "kid", "density"]]
    assert set(blind.verdict) == {"unknown"}
    assert blind[["p_value", "q_value"]].isna().all(axis=None)
    assert "unknown" not in set(rows.verdict.drop(blind.index))
    tests = rows.drop(blind.index)
    np.testing.assert_allclose(tests.q_value, adjusted(tests.p_value.to_numpy()))


def test_a_total_is_unknown_where_the_one_class_that_moved_is():
    assert np.isnan(shift_p_value(np.array([0.0, 5.0]), from_spread(np.array([0.0, 5.0]))))


def test_the_binomial_standard_error_is_that_of_simulated_shares():
    """Of 20,000 simulations, to 3%."""
    random, counts = np.random.default_rng(0), np.full(20_000, 300.0)
    shares = [np.arcsin(np.sqrt((random.binomial(300, 0.9, 20_000) + 3 / 8) / 300.75)) for _ in range(2)]
    assert binomial(counts, counts, 1.0).stderr[0] == pytest.approx((shares[1] - shares[0]).std(), rel=0.03)


def test_the_bound_of_pairs_bounds_a_mean_over_pairs():
    random = np.random.default_rng(0)
    kinds = random.random((500, 40)) < 0.5
    similar = (kinds[:, :, None] == kinds[:, None, :])[:, ~np.eye(40, dtype=bool)].mean(axis=1)
    value, images = np.array([similar.mean()]), np.array([40.0])
    assert similar.std() * np.sqrt(2) <= bound_of_pairs(value, value, images, images).stderr[0]


def test_effects_are_compared_by_their_standard_errors():
    base, new = np.array([0.1, 0.1, 0.1, 0.1]), np.array([0.1, 0.2, 0.2, 0.2])
    stderrs = np.array([0.0, 0.1, 0.001, 0.0]), np.array([0.0, 0.1, 0.001, 0.0])
    p_values = difference_p_values(base, new, *stderrs, np.full(4, 16), np.full(4, 16))
    assert p_values[0] == 1
    assert p_values[1] > 0.4
    assert p_values[2] < 1e-10
    assert np.isnan(p_values[3])


def test_overlaps_of_sets():
    one, other = np.array([[0, 1, 2, 3], [4, 5, 6, 7]]), np.array([[3, 2, 9, 8], [7, 6, 5, 4]])
    assert overlaps(one, other).tolist() == [0.5, 1.0]


def test_tables_that_the_simulation_stands_for():
    columns = set(CLASS_METRICS_TABLE.columns)
    assert set(simulated(np.random.default_rng(0), truth_of(np.random.default_rng(0), 4))[0]) - columns == {
        "ms_ssim_images"
    }
