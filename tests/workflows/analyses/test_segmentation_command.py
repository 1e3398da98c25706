"""``cawa segment`` on the bundled generator: sheet, label maps, table, scores, and input that does not fit."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cawa_core.errors import InputError
from cawa_core.rendering.grids import coloured
from tests.workflows.test_cli import run
from workflows.analyses.edits.command import EditCommandOptions
from workflows.analyses.edits.regions import region_pixels
from workflows.analyses.edits.sheet import run_edit
from workflows.analyses.segmentation.command import SegmentCommandOptions
from workflows.analyses.segmentation.sheet import run_segment
from workflows.commands.options import merged_command
from workflows.lab import lab as lab_module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segments")
    flags = {"classes": ["bag"], "clusters": [2, 3], "latents": 2, "fitted_latents": 6, "output": str(folder)}
    run_segment(*merged_command(SegmentCommandOptions, None, flags))
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


def edited_in(folder, output, *flags):
    words = {"classes": [8], "site": 5, "channels": [3], "operation": "set", "strengths": [4.0], "latents": 1}
    flags = {"region": str(folder / "maps/c0008-0000-weighted-3.png"), "output": str(output), **dict(flags)}
    run_edit(*merged_command(EditCommandOptions, None, words | flags))
    with Image.open(output / "edit.png") as sheet:
        return np.asarray(sheet.convert("RGB"))


def test_parts_are_regions_of_an_edit(monkeypatch, folder, tmp_path):
    """All the change in the parts named, none elsewhere: at the last site, that is as large as the pictures."""
    with Image.open(folder / "maps/c0008-0000-weighted-3.png") as picture:
        labels = np.asarray(picture)
    regions, run = [], lab_module.run

    def recorded(generator, z, class_ids, edits):
        regions.extend(edit.region for edit in edits)
        return run(generator, z, class_ids, edits)

    monkeypatch.setattr(lab_module, "run", recorded)
    sheets = [edited_in(folder, tmp_path / str(parts), ("parts", parts)) for parts in ([1, 2], [0, 1, 2])]
    assert np.array_equal(regions[0].numpy(), np.isin(labels, [1, 2]))
    assert regions[1].min() == 1
    assert not np.array_equal(*sheets)


@pytest.mark.parametrize(
    ("region", "parts", "message"),
    [
        ("labels", "1,7", "parts must be among the labels of region"),
        ("labels", "", "contains labels, not shades of grey; choose some of them by --parts: 0, 1, 2"),
        ("grey", "1", "has mode L: leave out --parts, or give such a map"),
        ("", "1", "parts are labels of a map; give one by --region"),
        ("labels", "-1", "parts: input should be greater than or equal to 0; got -1"),
    ],
)
def test_parts_that_are_not_there(monkeypatch, capsys, folder, tmp_path, region, parts, message):
    Image.new("L", (28, 28)).save(tmp_path / "grey.png")
    paths = {"labels": folder / "maps/c0008-0000-plain-3.png", "grey": tmp_path / "grey.png", "": ""}
    flags = ("--classes=8", "--channels=3", f"--region={paths[region]}", f"--parts={parts}")
    code, printed = run(monkeypatch, capsys, "edit", *flags, "--output", tmp_path / "edit")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not (tmp_path / "edit").exists()


def test_a_grey_palette_is_shades_of_grey(tmp_path):
    shades = np.linspace(0, 255, 28 * 28).astype(np.uint8).reshape(28, 28)
    Image.fromarray(shades).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    Image.fromarray(shades).save(tmp_path / "grey.png")
    found, expected = (region_pixels(str(tmp_path / name)) for name in ("palette.png", "grey.png"))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_progress_is_printed(monkeypatch, capsys, tmp_path):
    words = ("--classes", "bag,dress", "--latents", 1, "--fitted-latents", 2, "--clusters", 2, "--output", tmp_path)
    code, printed = run(monkeypatch, capsys, "segment", *words)
    assert code == 0
    assert re.match(r"segmenting pictures of fashion-biggan: 100%, [\d.,]+ pictures/s", printed.err.splitlines()[-1])


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
        (
            ["--classes", "bag", "--latents", "99"],
            "latents times classes must be at most 60, the rows of pictures on a sheet; got 99 x 1",
        ),
        (["--classes", "bag", "--evaluator", "fashion-cnn"], "No such option: --evaluator"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    output = tmp_path / "segments"
    code, printed = run(monkeypatch, capsys, "segment", "--output", output, "--fitted-latents", "1", *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()


def test_a_region_of_sixteen_bits_is_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((28, 28), 1000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="must have 8 bits per channel; it has mode I;16"):
        region_pixels(str(tmp_path / "deep.png"))
