"""``cawa segment`` on the bundled generator: sheet, label maps, table, scores, and input that does not fit."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cawa_core.rendering.grids import coloured
from tests.workflows.test_cli import run
from workflows.applications.options import SegmentSpec, merged_application
from workflows.applications.segment import run_segment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segments")
    flags = {"classes": ["bag"], "clusters": [2, 3], "latents": 2, "fitted_latents": 6, "output": str(folder)}
    run_segment(*merged_application(SegmentSpec, None, flags))
    return folder


def test_every_map_is_in_the_table_and_the_shown_ones_are_pictures(folder):
    table = pd.read_parquet(folder / "segments.parquet")
    assert len(table) == 6 * 2 * 2
    for (weighted, clusters), rows in table.groupby(["weighted", "clusters"]):
        assert set(np.concatenate(rows["labels"].to_list())) == set(range(clusters))
        way = "weighted" if weighted else "plain"
        with Image.open(folder / f"maps/c0008-0001-{way}-{clusters}.png") as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture).ravel(), rows[rows["latent"] == 1].iloc[0]["labels"])
    assert len(list((folder / "maps").iterdir())) == 2 * 2 * 2


def test_scores_are_those_of_the_table(folder):
    table = pd.read_parquet(folder / "segments.parquet")
    (found,) = json.loads((folder / "segments.json").read_text())["classes"]
    means = table.groupby(["clusters", "weighted"])["iou"].mean()
    for clusters in (2, 3):
        entry = found["iou"][str(clusters)]
        assert entry["plain"]["mean"] == pytest.approx(means[clusters, False])
        assert entry["weighted"]["mean"] == pytest.approx(means[clusters, True])
        gained = means[clusters, True] - means[clusters, False]
        assert entry["gained_by_awareness"]["mean"] == pytest.approx(gained)
    assert means.min() > 0.3  # a bag is a block on black
    with Image.open(folder / "segments.png") as sheet:
        assert sheet.width > 5 * 168


def test_a_part_has_one_colour_in_all_maps(folder):
    """The colours of both ways agree at as many pixels as for any other assignment of three colours."""
    table = pd.read_parquet(folder / "segments.parquet")
    labels, colours = {}, {}
    for way, weighted in (("plain", False), ("weighted", True)):
        chosen = table[(table["weighted"] == weighted) & (table["clusters"] == 3)]
        labels[way] = np.concatenate(chosen["labels"].to_list())
        with Image.open(folder / f"maps/c0008-0000-{way}-3.png") as picture:
            colours[way] = np.array(picture.getpalette()[:9]).reshape(3, 3)
    assert np.array_equal(colours["weighted"], coloured(np.arange(3, dtype=np.uint8)))

    def agreement(plain_colours):
        same = plain_colours[labels["plain"]] == colours["weighted"][labels["weighted"]]
        return same.all(axis=1).mean()

    best = max(agreement(colours["weighted"][list(order)]) for order in itertools.permutations(range(3)))
    assert agreement(colours["plain"]) == best > 0.5


def test_progress_is_printed(monkeypatch, capsys, tmp_path):
    words = ("--classes", "bag,dress", "--latents", 1, "--fitted-latents", 2, "--clusters", 2, "--output", tmp_path)
    code, printed = run(monkeypatch, capsys, "segment", *words)
    assert code == 0
    assert re.fullmatch(r"segmenting: 100%, .* bag", printed.err.splitlines()[-1])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "classes must name at least one class to segment"),
        (["--classes", "bga"], "did you mean 'bag'?"),
        (["--classes", "bag", "--sites", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["--classes", "bag", "--sites", "1,1"], "sites must be different ones"),
        (["--classes", "bag", "--clusters", "3,3"], "clusters must be different numbers"),
        (["--classes", "bag", "--clusters", "1"], "clusters must be in 2..255"),
        (["--classes", "bag", "--clusters", "900"], "clusters must be in 2..255"),
        (["--classes", "bag", "--latents", "99"], "latents must be at most 60 for 1 classes"),
        (["--classes", "bag", "--evaluator", "fashion-cnn"], "No such option: --evaluator"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    output = tmp_path / "segments"
    code, printed = run(monkeypatch, capsys, "segment", "--output", output, "--fitted-latents", "1", *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()
