"""The stage ``semantics``: scores equal a plain computation, whatever shards and batches, and its statements."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.interventions import run_with_features
from cawa_core.semantics.closed_form import CLOSED_FORMS
from cawa_core.semantics.files import read_extractor
from cawa_core.storage.plain_data import plain
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.semantics import IN_CLOSED_FORM, SEMANTICS_TABLE
from workflows.analyses.semantics.results import (
    class_scores,
    semantics_claims,
    semantics_section,
    semantics_summary,
    transfer_summary,
)
from workflows.analyses.semantics.scores import of_whole_sample
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec
from workflows.lab import Lab
from workflows.results.class_resamples import ClassResamples

SCENES = dataclasses.replace(
    SMALL,
    generator="scenes-biggan",
    evaluator="",
    real_images="",
    segmenter="scenes-segmenter",
    classes=(0, 7, 29),
    stages=("semantics",),
    semantics_latents=6,
    semantics_training_latents=60,
    semantics_steps=12,
    semantics_annotated=(1, 4),
    semantics_repeats=1,
    semantics_transfer_latents=3,
)
KEY = list(SEMANTICS_TABLE.key)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "audit"
    assert small_audit(folder, SCENES, report=True).quarantined == ()
    return Manifest.read(folder)


def test_every_map_is_scored_in_every_class(scenes):
    rows = scenes.table("semantics")
    variants = rows[["method", "site", "n_annotated", "repeat", "sample"]].drop_duplicates()
    counts = variants.groupby(["method", "sample"]).size().to_dict()
    few, sites = 2, 8
    assert counts == {
        ("lda", "test"): 1 + sites + few,
        ("lda", "left_out"): 1,
        ("ridge", "test"): 1 + sites + few,
        ("ridge", "left_out"): 1,
        ("lse", "test"): 1 + few,
        ("nse1", "test"): 1,
        ("nse2", "test"): 1,
    }
    pixels = rows.groupby(KEY[:-1])[["predicted", "true"]].sum()
    tested = pixels.reset_index()["sample"] == "test"
    assert (pixels[tested.to_numpy()] == 6 * 32**2).all().all()
    assert (rows.both <= rows[["predicted", "true"]].min(axis=1)).all()
    transfer = scenes.table("semantics_transfer")
    assert set(transfer.trained_on) == set(range(30))
    assert set(transfer.class_id) == {0, 7, 29}


def test_scores_equal_those_of_the_file_of_the_map(scenes):
    """A plain computation from the saved extractor, image by image."""
    lab = Lab.open("scenes-biggan", needs=("segmenter",))
    rows = scenes.table("semantics")
    ((receipt, content),) = scenes.file("semantics", "lda.safetensors")
    assert receipt.class_ids == (0, 7, 29)
    file = read_extractor("lda.safetensors", content, lab.generator)
    assert file.categories == ("nothing", *lab.segmenter.concepts)
    whole = of_whole_sample(rows[rows.method == "lda"])
    for class_id in (0, 7, 29):
        z, ids = lab.latents(class_id, 6), torch.full((6,), class_id)
        with torch.inference_mode():
            features, images = run_with_features(lab.generator, z, ids, file.extractor.sites)
            predicted = file.extractor(features).argmax(dim=1).numpy()
            true = lab.segmenter.segment(images).numpy() + 1
        of_class = whole[whole.class_id == class_id].set_index("label")
        for place, label in enumerate(file.categories):
            one, other = predicted == place, true == place
            if label not in of_class.index:
                assert not (one | other).any()
                continue
            row = of_class.loc[label]
            assert (row.predicted, row.true, row.both) == (one.sum(), other.sum(), (one & other).sum())
            with np.errstate(invalid="ignore"):
                ious = (one & other).sum(axis=(1, 2)) / (one | other).sum(axis=(1, 2))
            assert row.iou_sum == pytest.approx(np.nansum(ious))
            assert row.n_images == np.isfinite(ious).sum()


def test_shards_and_batches_change_no_score(tmp_path, scenes):
    small_audit(tmp_path / "other", dataclasses.replace(SCENES, classes=(29, 0)), classes_per_shard=1, batch_size=5)
    other = Manifest.read(tmp_path / "other")
    for table in ("semantics", "semantics_transfer"):
        one = scenes.table(table)
        one = one[one.class_id != 7].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, other.table(table))


def test_the_summary_and_the_page_say_what_the_table_does(scenes):
    entry = json.loads(scenes.storage.read("summary.json"))["semantics"]
    methods = {row["method"]: row for row in entry["methods"]}
    assert list(methods) == ["lda", "ridge", "lse", "nse1", "nse2"]
    rows = scenes.table("semantics")
    whole = of_whole_sample(rows[rows.method == "ridge"])
    sums = whole[whole.label != "nothing"].groupby("label")[["predicted", "true", "both", "iou_sum", "n_images"]].sum()
    iou = sums.both / (sums.predicted + sums.true - sums.both)
    assert methods["ridge"]["miou"] == pytest.approx(iou.mean())
    assert methods["ridge"]["miou_by_image"] == pytest.approx((sums.iou_sum / sums.n_images).mean())
    assert methods["lda"]["miou_ci"][0] <= methods["lda"]["miou"] <= methods["lda"]["miou_ci"][1]
    assert methods["lda"]["miou"] > 0.5  # 60 images teach it most of what there is
    assert [row["site"] for row in entry["sites"]] == list(range(8))
    assert {(row["method"], row["n_annotated"]) for row in entry["few_annotated"]} == {
        (method, number) for method in ("lda", "ridge", "lse") for number in (1, 4)
    }
    assert [row["relation"] for row in entry["transfer"]] == ["the same class", "another class"]
    page = scenes.storage.read("report.html").decode()
    assert "What maps of all sites read in new images" in page


def test_transfer_is_told_apart_by_the_known_factors(scenes):
    factors = {"building": tuple(str(number // 6) for number in range(30)), "place": tuple(map(str, np.arange(30) % 6))}
    rows = scenes.table("semantics_transfer")
    summary = transfer_summary(rows, ClassResamples(0, 50), factors)
    assert [row["relation"] for row in summary] == ["the same class", "building", "place", "neither"]
    assert [row["pairs"] for row in summary] == [3, 3 * 5, 3 * 4, 3 * 20]
    same, building, _, neither = (row["miou"] for row in summary)
    assert same > neither
    assert building > neither


def test_the_claim_follows_the_interval_of_the_ratio():
    def verdict(low, high, n_classes=30):
        ratio = {"miou": 0.95, "miou_ci": [low, high], "miou_by_image": 0.9, "miou_by_image_ci": [0.8, 0.95]}
        (claim,) = semantics_claims({"ratio": ratio, "n_classes": n_classes})
        return claim.verdict

    assert (verdict(0.93, 0.97), verdict(0.8, 0.9), verdict(0.9, 0.95)) == ("holds", "does not hold", "open")
    assert verdict(0.93, 0.97, n_classes=5) == "open"
    assert semantics_claims({"ratio": None}) == []


def rows_of_one_class(label, both):
    """Rows of ridge, LSE and NSE-1 on the whole sample and of ridge on one image, of one label."""
    variants = [("ridge", 0), ("lse", 0), ("nse1", 0), ("ridge", 1)]
    counts = {"predicted": 5, "true": 7, "both": both, "iou_sum": both / 12, "n_images": 1}
    key = {"class_id": 3, "site": -1, "repeat": 0, "sample": "test", "label": label}
    return pd.DataFrame([{**key, "method": method, "n_annotated": number, **counts} for method, number in variants])


@pytest.mark.parametrize(("label", "both"), [("sky", 0), ("nothing", 5)])
def test_a_generator_of_which_nothing_is_read_has_a_report(label, both):
    """Random weights: no pixel of any label is read, or no image shows any."""
    summary = plain(semantics_summary(rows_of_one_class(label, both), ClassResamples(0, 10)) | {"transfer": None})
    assert summary["ratio"] is None
    assert [row["share"] for row in summary["few_annotated"]] == [None]
    assert semantics_claims(summary) == []
    section = semantics_section(summary)
    assert section.tables
    assert len(class_scores(rows_of_one_class(label, both), "ridge")) == (label == "sky")


def test_checkpoints_are_compared_class_by_class(tmp_path, scenes):
    small_audit(tmp_path / "again", dataclasses.replace(SCENES, seed=1))
    content = compare(str(scenes.storage.path("")), str(tmp_path / "again"), comparison_spec(), str(tmp_path / "out"))
    assert "mean IoU" in content.storage.read("compare.html").decode()
    assert set(IN_CLOSED_FORM) == set(CLOSED_FORMS)


def test_options_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"site must be in 0\.\.7"):
        small_audit(tmp_path / "audit", dataclasses.replace(SCENES, semantics_sites=(8,)))
    with pytest.raises(InputError, match="segmenter must be given for scenes-biggan: stage semantics needs it"):
        small_audit(tmp_path / "audit", dataclasses.replace(SCENES, segmenter=""))
    assert not (tmp_path / "audit").exists()
    small_audit(
        tmp_path / "audit", dataclasses.replace(SCENES, classes=(3,), semantics_steps=0, semantics_transfer_latents=0)
    )
    assert set(Manifest.read(tmp_path / "audit").table("semantics").method) == {"lda", "ridge"}
