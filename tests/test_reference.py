"""A fresh, smaller run against the committed reference result."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.workflows.conftest import small_audit
from workflows.options.audit import audit_spec

REFERENCE = Path(__file__).parent.parent / "results/reference/fashion-biggan"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def summaries(tmp_path_factory):
    """As in the reference, but masking with 8 latents and few groups, for its controls, and without hybrids."""
    folder = tmp_path_factory.mktemp("fresh") / "audit"
    stages = ("awareness", "class_metrics", "masking", "segmentation", "edits")
    spec = dataclasses.replace(audit_spec(), masking_latents=8, masking_group_size=64, stages=stages)
    small_audit(folder, spec)
    return tuple(json.loads((one / "summary.json").read_text()) for one in (REFERENCE, folder))


def test_the_reference_is_of_these_models(summaries):
    reference = json.loads((REFERENCE / "audit.json").read_text())["identity"]
    assert reference["spec"] == audit_spec(classes=tuple(range(10))).as_data()
    for text in ("report.html", "summary.json"):
        assert (REFERENCE / text).stat().st_size > 10_000


def test_class_metrics_are_those_of_the_reference(summaries):
    """The same samples: rounding alone, which FID and the nearest neighbours amplify to 1% at most."""
    reference, fresh = summaries
    for metric, values in reference["class_metrics"].items():
        for name in ("mean", "min", "max"):
            assert fresh["class_metrics"][metric][name] == pytest.approx(values[name], rel=0.01, abs=2e-3), metric
    assert reference["class_metrics"]["classifier_accuracy"]["mean"] >= 0.90
    assert reference["class_metrics"]["classifier_accuracy"]["min"] >= 0.70


def test_awareness_is_that_of_the_reference(summaries):
    """No sampling in the closed form, the same latents in the other: rounding alone."""
    reference, fresh = summaries
    tails = [one["heavy_tails"] for one in summaries]
    assert tails[1]["largest_sign_probability"] == pytest.approx(tails[0]["largest_sign_probability"], rel=1e-4)
    assert tails[1]["estimator_gap"]["light_tails_largest"] == pytest.approx(
        tails[0]["estimator_gap"]["light_tails_largest"], rel=1e-2
    )
    exact = {(row["criterion"], row["site"], row["k"]): row["overlap"] for row in reference["overlap"]}
    for row in fresh["overlap"]:
        if row["criterion"] != "masking_highest":
            assert row["overlap"] == pytest.approx(exact[row["criterion"], row["site"], row["k"]], abs=0.005)


def test_masks_of_controls_are_those_of_the_reference(summaries):
    """The same latents and channels, whatever the number of other masks: rounding alone."""
    reference, fresh = summaries
    expected = {(row["site"], row["control"]): row["score_change"] for row in reference["masking_controls"]["rows"]}
    for row in fresh["masking_controls"]["rows"]:
        assert row["score_change"] == pytest.approx(expected[row["site"], row["control"]], abs=1e-3)
    assert fresh["masking_controls"]["no_op_largest_change"] == 0


def test_applications_are_those_of_the_reference(summaries):
    """The same latents: rounding alone, which may tip a pixel to another cluster or choose another of two alike."""
    reference, fresh = summaries
    keys = {"segmentation": ("clusters",), "edits": ("site",)}
    for section, key in keys.items():
        expected = {tuple(row[name] for name in key): row for row in reference[section]}
        assert {tuple(row[name] for name in key) for row in fresh[section]} == expected.keys()
        for row in fresh[section]:
            means = [name for name in row if f"{name}_ci" in row]
            assert means
            for name in means:
                assert row[name] == pytest.approx(expected[tuple(row[one] for one in key)][name], abs=0.01), name
