"""The estimators of masking through the audit: what they write, and that it agrees with exact masks."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit

ONE = dataclasses.replace(SMALL, classes=(6,), stages=("awareness", "masking"), masking_latents=24, exact_latents=12)
GROUP = ["site", "group"]


def masking(folder, **options) -> pd.DataFrame:
    """Rows of an audit's ``masking`` table, by group."""
    result = small_audit(folder, dataclasses.replace(ONE, **options))
    assert result.quarantined == ()
    return Manifest.read(folder).table("masking").set_index(GROUP)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return masking(tmp_path_factory.mktemp("exact") / "audit")


def test_exact_rows_carry_their_screening(exact):
    assert set(exact.method) == {"exact"}
    assert set(exact.n_samples) == set(exact.n_screened) == {24}
    for effect, least in (("score_change", 0.5), ("score_change_abs", 0.6)):  # groups of eight, summed to first order
        assert exact[[effect, f"screened_{effect}"]].corr(method="spearman").iloc[0, 1] > least


def test_regression_is_near_exact_masks_of_all_latents(tmp_path, exact):
    rows = masking(tmp_path / "audit", masking_estimator="regression")
    assert set(rows.method) == {"regression"}
    assert set(rows.n_samples) == {12}
    gap = (rows.score_change - exact.score_change).abs() / rows.score_change_stderr
    assert (gap < 3).mean() > 0.95
    assert rows.score_change_stderr.median() < 1.6 * exact.score_change_stderr.median()  # of half the masks


def test_two_precisions_are_almost_float32_alone(tmp_path, exact):
    rows = masking(tmp_path / "audit", masking_estimator="two_precisions")
    assert "float32 corrected from bfloat16" in rows.protocol.iloc[0]
    assert np.abs(rows.score_change - exact.score_change).max() < 0.5 * exact.score_change_stderr.median()
    np.testing.assert_allclose(rows.score_change_stderr, exact.score_change_stderr, rtol=0.2, atol=1e-4)


def test_two_precisions_reach_a_target_too(tmp_path, exact):
    options = {"masking_latents": 96, "target_stderr": 0.02}
    rows = masking(tmp_path / "audit", masking_estimator="two_precisions", **options)
    early = rows[rows.n_samples < 96]
    assert len(early) > 0.3 * len(rows)
    assert (early.score_change_stderr <= 0.02).all()
    combined = np.hypot(rows.score_change_stderr, exact.score_change_stderr)
    assert ((rows.score_change - exact.score_change).abs() < 3 * combined).mean() > 0.95


def test_compiled_networks_give_the_same_and_say_so(tmp_path, exact):
    rows = masking(tmp_path / "audit", masking_estimator="exact", compile=True)
    assert rows.protocol.iloc[0].endswith("float32, compiled")
    for effect in ("score_change", "log_score_change"):
        np.testing.assert_allclose(rows[effect], exact[effect], rtol=1e-3, atol=1e-4)


def test_screening_masks_nothing(tmp_path, exact):
    rows = masking(tmp_path / "audit", masking_estimator="screening")
    assert set(rows.method) == {"screening"}
    assert set(rows.n_samples) == {0}
    np.testing.assert_allclose(rows.score_change, exact.screened_score_change, atol=1e-5)


def test_the_top_alone_are_masked(tmp_path, exact):
    rows = masking(tmp_path / "audit", masking_estimator="exact", top=5)
    chosen = rows[rows.method == "exact"]
    assert len(chosen) == 5
    assert set(chosen.index) == set(exact.screened_score_change_abs.nlargest(5).index)
    np.testing.assert_allclose(chosen.score_change, exact.score_change[chosen.index], atol=1e-6)


def test_a_target_adds_latents_where_they_are_needed(tmp_path):
    rows = masking(
        tmp_path / "audit", masking_estimator="exact", masking_latents=64, exact_latents=8, target_stderr=0.02
    )
    assert set(rows.n_samples) <= {8, 10, 13, 17, 22, 28, 35, 44, 55, 64}
    assert len(set(rows.n_samples)) > 1
    early = rows[rows.n_samples < 64]
    assert len(early)
    assert (early.score_change_stderr <= 0.02).all()


def test_all_sites_of_a_class_are_one_shard_where_they_share_the_screening(tmp_path):
    small_audit(tmp_path / "one", dataclasses.replace(ONE, masking_estimator="screening"))
    shards = [one for one in Manifest.read(tmp_path / "one").receipts.values() if one.stage == "masking"]
    assert [one.sites for one in shards] == [(0, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masking_estimator": "regression", "masking_latents": 7}, "masking_latents must be at least 8 .* got 7"),
        ({"masking_estimator": "two_precisions", "dtype": "bfloat16"}, "dtype must be float32 .* got bfloat16"),
        ({"masking_estimator": "screening", "top": 3}, "target_stderr and top need masks"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        small_audit(tmp_path / "audit", dataclasses.replace(ONE, **options))
    assert not (tmp_path / "audit").exists()
