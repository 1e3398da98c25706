"""Segmentation in an audit: its table against the command and the pictures."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from cawa_core.generators.base import class_ids_of
from cawa_core.segmentation.clustering import bright_foreground, intersection_over_union
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL
from tests.workflows.test_cli import run
from workflows.analyses.segmentation.command import SegmentCommandOptions
from workflows.analyses.segmentation.sheet import run_segment
from workflows.commands.options import merged_command
from workflows.lab import Lab


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
