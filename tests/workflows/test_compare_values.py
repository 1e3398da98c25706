"""Segmentation, hybrids and edits of two audits: nothing moves by itself, and a planted change is found."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.workflows.written_audits import columns_of, with_analysis, written_audit
from workflows.analyses.edits import EDITS_TABLE
from workflows.analyses.hybrids import HYBRIDS_TABLE
from workflows.analyses.segmentation import SEGMENTATION_TABLE
from workflows.compare.class_values import ClassValues, measured_values, value_changes
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec

CLASSES = 20
LATENTS = 16


def segmentation(seed=0, gain=0.0):
    """IoU of each class, with K = 2 and 3; ``gain`` is what weighting by awareness adds with K = 3."""
    random = np.random.default_rng(seed)
    rows = []
    for class_id in range(CLASSES):
        for clusters in (2, 3):
            for weighted in (False, True):
                mean = 0.6 + 0.01 * class_id + gain * (weighted and clusters == 3) + random.normal(0, 0.02)
                rows += [
                    {"class_id": class_id, "clusters": clusters, "weighted": weighted, "index": index, "iou": mean}
                    for index in range(3)
                ]
    return {"segmentation": columns_of(SEGMENTATION_TABLE, rows)}


def scores(random, means):
    """Means over latents of noise 0.1, with their standard errors."""
    scored = {"n_samples": LATENTS}
    for measure, mean in means.items():
        draws = mean + random.normal(0, 0.1, LATENTS)
        scored |= {measure: draws.mean(), f"{measure}_stderr": draws.std(ddof=1) / LATENTS**0.5}
    return scored


def hybrids(seed=0, drop=0.0, partner=1, k=8):
    """One mixture of each kind per class; ``drop`` is what channel mixing of class 3 loses."""
    random = np.random.default_rng(seed)
    rows = []
    for class_id in range(CLASSES):
        key = {"class_id": class_id, "reference_id": (class_id + partner) % CLASSES}
        rows.append({**key, "kind": "input", "first_site": 1, "sites": [], "k": 0, "harmony": 0.0})
        for kind in ("style_mixing", "channel_mixing"):
            lost = drop * (class_id == 3 and kind == "channel_mixing")
            means = {"harmony": 0.5 - lost, "balance": 0.6, "realism": 0.8}
            rows.append({**key, "kind": kind, "first_site": 0, "sites": [0], "k": k, **scores(random, means)})
    return {"hybrids": columns_of(HYBRIDS_TABLE, rows)}


def edits(seed=0, drop=0.0, channel=2, n_classes=CLASSES):
    """Two edits per class; ``drop`` is the change that the best edit of every class loses."""
    random = np.random.default_rng(seed)
    rows = []
    for class_id in range(n_classes):
        for rank in (0, 1):
            means = {"change": 0.5 - drop * (rank == 0), "locality": 0.8, "kept": 0.9}
            key = {"class_id": class_id, "rank": rank, "site": 0, "channel": channel + rank, "factor": 3.0}
            rows.append({**key, **scores(random, means)})
    return {"edits": columns_of(EDITS_TABLE, rows)}


def content_of(tmp_path, base, new, **options):
    first = written_audit(tmp_path / "base", base)
    second = written_audit(tmp_path / "new", new, **options)
    return compare(str(first), str(second), comparison_spec(), str(tmp_path / "out")).content


def moved(rows):
    return [row for row in rows if row["moved"]]


@pytest.mark.parametrize("tables", [segmentation, hybrids, edits])
def test_identical_tables_have_not_moved(tmp_path, tables):
    content = content_of(tmp_path, tables(), tables())
    (name,) = tables()
    changes = content[name]
    assert content["compared"] == [name]
    assert {row["change"] for row in changes["classes"]} == {0.0}
    assert {row["mean_change"] for row in changes["totals"]} == {0.0}
    assert not moved(changes["totals"]) + moved(changes["classes"])
    assert (changes["n_unmatched"], changes["n_rechosen"]) == (0, 0)
    assert content["sentence"] == "not judged: class_metrics is not in both audits; nothing moved"
    assert not content["is_worse"]


@pytest.mark.parametrize("tables", [segmentation, hybrids, edits])
def test_noise_alone_moves_nothing(tmp_path, tables):
    content = content_of(tmp_path, tables(seed=1), tables(seed=2))
    (changes,) = (content[name] for name in tables())
    assert max(abs(row["change"]) for row in changes["classes"]) > 0
    assert not moved(changes["totals"]) + moved(changes["classes"])


def test_a_change_of_segmentation_is_seen_over_classes_though_no_class_has_a_standard_error(tmp_path):
    content = content_of(tmp_path, segmentation(seed=1), segmentation(seed=2, gain=0.1))
    changes = content["segmentation"]
    assert {(row["clusters"], row["measure"]) for row in moved(changes["totals"])} == {(3, "weighted"), (3, "gained")}
    assert {row["stderr"] for row in changes["classes"]} == {None}
    assert not moved(changes["classes"])
    (gained,) = (row for row in moved(changes["totals"]) if row["measure"] == "gained")
    assert gained["mean_change"] == pytest.approx(0.1, abs=0.03)
    assert gained["n_classes"] == CLASSES


def test_segmentation_without_a_reference_has_nothing_to_compare(tmp_path):
    tables = segmentation()
    tables["segmentation"]["iou"] = [None] * len(tables["segmentation"]["iou"])
    content = content_of(tmp_path, tables, tables)
    assert (content["segmentation"]["classes"], content["segmentation"]["totals"]) == ([], [])
    assert "Neither audit has an IoU" in (tmp_path / "out/compare.html").read_text()


def test_a_worse_hybrid_of_one_class_is_named(tmp_path):
    content = content_of(tmp_path, hybrids(seed=1), hybrids(seed=2, drop=0.4))
    changes = content["hybrids"]
    (row,) = moved(changes["classes"])
    assert (row["class_id"], row["kind"], row["measure"]) == (3, "channel_mixing", "harmony")
    assert (row["reference_id"], row["reference_name"]) == (4, "class 4")
    assert row["change"] == pytest.approx(-0.4, abs=4 * row["stderr"])
    assert not moved(changes["totals"])
    assert {row["kind"] for row in changes["classes"]} == {"style_mixing", "channel_mixing"}
    text = (tmp_path / "out/compare.md").read_text()
    assert "| class 3 | channel_mixing | class 4 | harmony |" in text
    assert not content["is_worse"]


def test_only_pairs_of_classes_that_both_audits_mixed_are_compared(tmp_path):
    content = content_of(tmp_path, hybrids(), hybrids(partner=2))
    assert (content["hybrids"]["classes"], content["hybrids"]["n_unmatched"]) == ([], 2 * 2 * 3 * CLASSES)


def test_mixtures_of_another_size_are_tested_over_classes_only(tmp_path):
    """The standard errors do not contain the noise of the choice."""
    content = content_of(tmp_path, hybrids(seed=1), hybrids(seed=2, drop=0.4, k=16))
    changes = content["hybrids"]
    assert changes["n_rechosen"] == 2 * 3 * CLASSES
    assert {row["p_value"] for row in changes["classes"]} == {None}
    assert {row["p_value"] is None for row in changes["totals"]} == {False}


def test_a_change_of_all_edits_is_found(tmp_path):
    content = content_of(tmp_path, edits(seed=1), edits(seed=2, drop=0.3))
    changes = content["edits"]
    assert [row["measure"] for row in moved(changes["totals"])] == ["change"]
    assert {row["measure"] for row in moved(changes["classes"])} == {"change"}
    assert len(moved(changes["classes"])) == CLASSES
    assert changes["n_channels_changed"] == 0


def test_few_classes_are_tested_by_their_standard_errors(tmp_path):
    changes = content_of(tmp_path, edits(seed=1, n_classes=3), edits(seed=2, drop=0.3, n_classes=3))["edits"]
    assert [row["measure"] for row in moved(changes["totals"])] == ["change"]
    assert changes["totals"][0]["n_classes"] == 3


def test_another_best_channel_is_reported(tmp_path):
    content = content_of(tmp_path, edits(seed=1, n_classes=3), edits(seed=2, channel=0, n_classes=3))
    changes = content["edits"]
    assert (changes["n_channels_changed"], len(changes["channels"])) == (3, 3)
    assert changes["channels"][0] == {
        "class_id": 0,
        "class_name": "class 0",
        "base_site": 0,
        "base_channel": 2,
        "new_site": 0,
        "new_channel": 0,
        "changed": True,
    }
    assert {row["p_value"] for row in (*changes["classes"], *changes["totals"])} == {None}
    assert "In 3 of 3 classes another channel is the best." in (tmp_path / "out/compare.html").read_text()


def test_other_latents_may_be_scored_but_not_tried(tmp_path):
    content = content_of(tmp_path, edits(seed=1), edits(seed=2), edit_scored_latents=32)
    assert content["differing_options"] == {"edit_scored_latents": [16, 32]}


def test_false_alarms_are_no_more_than_stated():
    """Three standard deviations of the share of simulations above the stated level are allowed."""
    random = np.random.default_rng(0)
    level = 0.2
    simulations = 200
    alarms = 0
    for simulation in range(simulations):
        n_classes = (4, 12)[simulation % 2]
        sides = [measured_values(_frame(random, n_classes), ["change", "kept"]) for _ in range(2)]
        changes = value_changes(ClassValues(*sides), dict.fromkeys(range(n_classes), "a class"), level)
        alarms += bool(moved(changes["totals"]) + moved(changes["classes"]))
    assert alarms / simulations <= level + 3 * np.sqrt(level * (1 - level) / simulations)


def _frame(random, n_classes):
    return pd.DataFrame(
        [
            {"class_id": class_id, **scores(random, {"change": 0.1 * class_id, "kept": 0.5})}
            for class_id in range(n_classes)
        ]
    )


def test_an_analysis_that_is_not_installed_is_skipped_and_named(tmp_path):
    folders = [written_audit(tmp_path / name, edits()) for name in ("base", "new")]
    for folder in folders:
        with_analysis(folder, "melodies")
    content = compare(*map(str, folders), comparison_spec(), str(tmp_path / "out")).content
    assert content["not_compared"] == {"melodies": "it is not installed here"}
    assert "melodies (it is not installed here)" in (tmp_path / "out/compare.md").read_text()
    assert "melodies" in (tmp_path / "out/compare.html").read_text()
    assert json.loads((tmp_path / "out/compare.json").read_text()) == content
