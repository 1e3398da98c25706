"""Segmentation in an audit: its table against the command and the pictures."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.segmentation.clustering import bright_foreground, intersection_over_union
from cawa_core.segmenters.base import Segmenter
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.analyses.segmentation.command import SegmentCommandOptions
from workflows.analyses.segmentation.sheet import run_segment
from workflows.analyses.segmentation.work import segmented, sites_of
from workflows.commands.options import merged_command
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec
from workflows.lab import Lab
from workflows.options.audit import audit_spec


@pytest.fixture(scope="module")
def lab():
    return Lab.open(classes=list(SMALL.classes))


@pytest.fixture(scope="module")
def table(audited):
    return Manifest.read(audited).table("segmentation")


@pytest.fixture(scope="module")
def samples(audited):
    """Unmasked pictures of the gallery by class and latent."""
    gallery = Manifest.read(audited).table("gallery")
    unmasked = gallery[gallery.kind == "sample"]
    return dict(zip(zip(unmasked.class_id, unmasked["index"], strict=True), unmasked.png, strict=True))


@pytest.fixture(scope="module")
def summary(audited):
    return json.loads((audited / "summary.json").read_text())


SCENES = audit_spec(
    generator="scenes-biggan",
    evaluator="scenes-cnn",
    real_images="scenes",
    segmenter="scenes-segmenter",
    classes=(0, 9),
    stages=("segmentation",),
    segmentation_clusters=(2, 3),
    segmentation_fitted_latents=4,
    bootstraps=50,
)


@pytest.fixture(scope="module")
def scenes_audited(tmp_path_factory):
    """Folder of an audit of a generator whose segmenter labels every pixel."""
    folder = tmp_path_factory.mktemp("audit") / "scenes"
    small_audit(folder, SCENES, report=True)
    return folder


def pixels(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def test_label_maps_are_those_of_the_command(table, tmp_path):
    flags = {"classes": [8], "clusters": [2, 3], "latents": 4, "fitted_latents": 4, "output": str(tmp_path)}
    run_segment(*merged_command(SegmentCommandOptions, None, flags))
    rows = table[table.class_id == 8]
    assert len(rows) == 2 * 2 * 4
    for row in rows.to_dict("records"):
        way = "weighted" if row["weighted"] else "plain"
        drawn = tmp_path / f"maps/c0008-{row['index']:04d}-{way}-{row['clusters']}.png"
        assert row["labels_png"] == drawn.read_bytes()


def test_overlap_is_that_of_maps_and_pictures(table, lab, samples):
    for row in table.to_dict("records"):
        first = row["clusters"] == 2 and not row["weighted"]
        assert row["png"] == (samples[row["class_id"], row["index"]] if first else None)
        z = lab.latents(row["class_id"], row["index"] + 1)[-1:]
        image = lab.generator(z, class_ids_of(row["class_id"], z))
        found = pixels(row["labels_png"]) >= row["n_background"]
        (overlap,) = intersection_over_union(found[None], bright_foreground(image.detach()))
        assert row["iou"] == pytest.approx(overlap)


def test_overlaps_are_averaged_over_latents_then_classes(table, summary):
    means = table.groupby(["clusters", "weighted", "class_id"]).iou.mean()
    by_way = means.groupby(["clusters", "weighted"]).mean()
    assert [row["clusters"] for row in summary["segmentation"]] == [2, 3]
    for row in summary["segmentation"]:
        assert row["plain"] == pytest.approx(by_way[row["clusters"], False])
        assert row["weighted"] == pytest.approx(by_way[row["clusters"], True])
        assert row["gained"] == pytest.approx(row["weighted"] - row["plain"])
        low, high = row["gained_ci"]
        assert low <= row["gained"] <= high


def test_label_agreement_is_that_of_maps_and_labels(scenes_audited):
    lab = Lab.open("scenes-biggan", ("segmenter",), classes=[0, 9])
    table = Manifest.read(scenes_audited).table("segmentation")
    assert len(table) == 2 * 2 * 2 * 4
    assert table.iou.isna().all()
    for row in table.to_dict("records"):
        z = lab.latents(row["class_id"], row["index"] + 1)[-1:]
        labels = lab.segmenter.segment(lab.generator(z, class_ids_of(row["class_id"], z)))
        agreement = adjusted_rand_score(labels.numpy().ravel(), pixels(row["labels_png"]).ravel())
        assert row["label_agreement"] == pytest.approx(agreement)


def test_label_agreement_is_averaged_and_judged(scenes_audited):
    summary = json.loads((scenes_audited / "summary.json").read_text())
    table = Manifest.read(scenes_audited).table("segmentation")
    by_way = table.groupby(["clusters", "weighted"]).label_agreement.mean()
    assert summary["segmentation"] is None
    for row in summary["segmentation_labels"]:
        assert row["plain"] == pytest.approx(by_way[row["clusters"], False])
        assert row["weighted"] == pytest.approx(by_way[row["clusters"], True])
    (claim,) = [entry for entry in summary["findings"] if entry["source"] == "Sec. 5.3, Fig. 8"]
    assert claim["claim"].startswith("Clusters of pixels agree better with the labels")
    page = (scenes_audited / "report.html").read_text()
    assert "Agreement of the clusters with the labels, means over classes" in page


class Planted(Segmenter):
    """Labels of pixels that are known beforehand."""

    name = "planted"
    digest = "0"
    protocol = "planted"
    concepts = ("a", "b", "c", "d")

    def __init__(self, labels):
        super().__init__()
        self.labels = iter(labels)

    def segment(self, images):
        return torch.stack([next(self.labels) for _ in images])


def test_clusters_that_are_the_labels_agree_fully():
    lab = Lab.open("scenes-biggan", (), classes=[0])
    sites = sites_of(lab, ())
    bare = segmented(lab, 0, sites, (3,), 4)
    assert bare.agreement == {}
    labels = 3 - torch.from_numpy(bare.segmentations[False, 3].labels.astype(np.int64))
    result = segmented(dataclasses.replace(lab, labeller=Planted(labels)), 0, sites, (3,), 4)
    np.testing.assert_array_equal(result.agreement[False, 3], np.ones(4))
    assert result.agreement[True, 3].mean() < 1


def test_concepts_that_overlap_divide_no_pixels(table, summary):
    assert table.label_agreement.isna().all()
    assert summary["segmentation_labels"] is None


def test_a_segmenter_that_is_given_later_computes_the_stage_again(scenes_audited, tmp_path):
    without = dataclasses.replace(SCENES, segmenter="")
    small_audit(tmp_path / "later", without)
    assert Manifest.read(tmp_path / "later").table("segmentation").label_agreement.isna().all()
    with_segmenter = dataclasses.replace(without, segmenter=SCENES.segmenter)
    message = "segmentation with or without a network, a segmenter or real images, unlike now"
    with pytest.raises(InputError, match=message):
        small_audit(tmp_path / "later", with_segmenter)
    content = compare(tmp_path / "later", scenes_audited, comparison_spec()).content
    assert content["segmentation"] is not None


def test_the_report_shows_and_judges_it(audited, summary):
    assert '<section id="segmentation">' in (audited / "report.html").read_text()
    assert "Sec. 5.3, Fig. 8" in [finding["source"] for finding in summary["findings"]]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--segmentation-sites", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["--segmentation-sites", "1,1"], "sites must be different ones"),
        (["--segmentation-clusters", "1"], "clusters must be in 2..255"),
        (["--segmentation-clusters", "3,3"], "clusters must be different numbers"),
        (["--stages", "segmentations"], "did you mean 'segmentation'?"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    code, printed = run(monkeypatch, capsys, "audit", "--executor", "inline", "--output", tmp_path / "new", *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not (tmp_path / "new").exists()
