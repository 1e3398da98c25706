"""Top channels of two audits: what noise alone leaves of them, and where awareness is sampled."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cawa_core.errors import InputError
from cawa_core.statistics.overlap import top_channels
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.awareness.channel_sets import set_summary
from workflows.analyses.awareness.turnover import NoisyValues, overlaps, overlaps_by_noise
from workflows.analyses.class_metrics.comparison import exactness
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec
from workflows.compare.page import page
from workflows.compare.wording import markdown

CLASSES, CHANNELS, LATENTS, K = 40, 200, 16, 20


def measured(random, truth, deviation):
    """One audit: means over latents with their standard errors, every channel a group of its own."""
    draws = truth[..., None] + deviation[..., None] * random.standard_normal((*truth.shape, LATENTS))
    group = np.tile(np.arange(truth.shape[1]), (len(truth), 1))
    return NoisyValues(np.arange(len(truth)), draws.mean(-1), draws.std(-1, ddof=1) / LATENTS**0.5, group)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_the_overlap_by_noise_is_what_two_audits_have(kind, noise):
    """To 0.08, with noise that grows with the effect, as that of probabilities does."""
    random = np.random.default_rng(0)
    truth = getattr(random, kind)(size=(CLASSES, CHANNELS))
    both = [measured(random, truth, noise * (0.5 + np.abs(truth))) for _ in range(2)]
    true = overlaps(*(top_channels(one.values, K) for one in both))
    drawn = np.concatenate([overlaps_by_noise(one, [K], random) for one in both])[..., 0]
    assert drawn.mean() == pytest.approx(true.mean(), abs=0.08)
    assert (true < drawn.min(axis=0)).mean() <= 0.1


def test_channels_of_one_group_move_together():
    random = np.random.default_rng(0)
    values, group = random.normal(size=(3, 5)), np.repeat(np.arange(5), 4)[None].repeat(3, axis=0)
    found = overlaps_by_noise(NoisyValues(np.arange(3), values, np.ones((3, 5)), group), [4, 8], random)
    assert found.shape[1:] == (3, 2)
    assert set(np.unique(found[..., 0])) == {0.0, 1.0}


def test_channels_that_are_not_ranked_are_in_no_set_and_unknown_errors_stay_unknown():
    random = np.random.default_rng(0)
    values, stderr = np.ones((2, 4)), np.full((2, 4), 0.1)
    stderr[1, 2] = np.nan
    group = np.array([[0, 1, -1, -1]] * 2)
    found = overlaps_by_noise(NoisyValues(np.arange(2), values, stderr, group), [2], random)[..., 0]
    assert (found[:, 0] == 1).all()
    assert np.isnan(found[:, 1]).all()


def test_a_class_has_moved_below_all_draws_and_unknown_is_not_judged():
    rows = pd.DataFrame({"class_id": [0, 1, 2], "site": 0, "criterion": "masking_highest", "k": 10})
    rows = rows.assign(overlap=[0.2, 0.7, 0.1], expected=[0.6, 0.7, np.nan], lowest=[0.4, 0.5, np.nan])
    (one,) = set_summary(rows.assign(overlap_by_chance=0.1))
    assert (one["n_moved"], one["n_judged"], one["expected_overlap"]) == (1, 2, pytest.approx(0.65))


def test_exact_sets_expect_all_and_masking_less(audited, tmp_path):
    content = compare(audited, str(audited), comparison_spec(), str(tmp_path)).content
    rows = content["channel_sets"]["by_site"]
    assert {row["n_moved"] for row in rows} == {0}
    assert {row["expected_overlap"] for row in rows if row["criterion"] != "masking_highest"} == {1.0}
    masking = [row["expected_overlap"] for row in rows if row["criterion"] == "masking_highest"]
    assert max(masking) < 1
    assert (content["total_awareness_is_exact"], content["sampled_sites"]) == (True, [])
    assert "Total awareness, exact" in page(content)


def test_the_markdown_names_correlations_that_moved(audited, tmp_path):
    content = compare(audited, str(audited), comparison_spec(), str(tmp_path)).content
    assert (tmp_path / "compare.md").read_text().count("Correlations that moved") == 1
    content["correlations"]["masking"][0] |= {"n_moved": 3, "predictor": "a predictor"}
    content["correlations"]["metrics"][0] |= {"moved": True, "metric": "a metric"}
    text = markdown(content)
    section = text.split("## Correlations that moved")[1].split("\n## ")[0]
    assert "| a predictor |" in section
    assert "| a metric |" in section
    assert section.count("\n| ") == 4


SAMPLED = dataclasses.replace(SMALL, stages=("awareness",), awareness_estimators=("monte_carlo",), classes=(1, 3))


def test_sampled_awareness_is_not_called_exact(tmp_path):
    """Another seed of one checkpoint, without closed-form rows: sets move by noise, and errors say by how much."""
    for seed in (0, 1):
        small_audit(tmp_path / f"seed-{seed}", dataclasses.replace(SAMPLED, seed=seed))
    content = compare(tmp_path / "seed-0", tmp_path / "seed-1", comparison_spec()).content
    assert content["sampled_sites"] == list(range(6))
    assert content["total_awareness_is_exact"] is None
    rows = content["channel_sets"]["by_site"]
    sampled = [row for row in rows if row["criterion"] == "category_highest"]
    assert all(row["n_judged"] == 2 and row["expected_overlap"] < 1 for row in sampled)
    assert sum(row["n_moved"] for row in sampled) <= 2
    assert {row["n_judged"] for row in rows if row["criterion"] == "expected_activation_highest"} == {0}
    text = page(content)
    assert "Awareness is sampled at sites 0, 1, 2, 3, 4, 5 and moves with the seed" in text
    assert "only weights move them" not in text


def test_samples_must_be_as_many_where_awareness_is_sampled(tmp_path):
    small_audit(tmp_path / "base", SAMPLED)
    small_audit(tmp_path / "new", dataclasses.replace(SAMPLED, awareness_samples=300))
    with pytest.raises(InputError, match=r"same awareness_samples.*; got 200 in base, 300 in new"):
        compare(tmp_path / "base", tmp_path / "new", comparison_spec())


@pytest.mark.parametrize(
    ("exact", "sites", "words"),
    [
        (True, [], "exact"),
        (False, [1], "sampled at site 1, where it moves with the seed"),
        (None, None, "exact at affine sites, sampled at others"),
    ],
)
def test_words_of_total_awareness(exact, sites, words):
    assert exactness({"total_awareness_is_exact": exact, "sampled_sites": sites}) == words
