"""``cawa dissect``: the sheet, the units, what is left without them, and input that does not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core.annotations import Annotations, write_annotations
from cawa_core.dissection.removal import by_site, share_left
from cawa_core.errors import InputError
from tests.planted_units import (
    CONSTANT,
    EDGE,
    NOISY,
    SHIFTED,
    SIDE,
    SQUARE,
    CornerGenerator,
    corners,
    squares,
)
from tests.workflows.test_cli import run
from workflows.analyses.dissection.command import DissectCommandOptions
from workflows.analyses.dissection.sheet import run_dissect
from workflows.commands.options import merged_command

PAGE = Path(__file__).parent.parent.parent.parent / "docs/concepts.md"
PLANTED = {
    "generator": "tests.planted_units:PlantedGenerator",
    "segmenter": "tests.planted_units:SquareSegmenter",
    "images": 40,
    "threshold_images": 40,
    "removed": [1, 2],
    "random_sets": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    run_dissect(*merged_command(DissectCommandOptions, None, PLANTED | {"concept": "square", "output": str(folder)}))
    return folder


def test_units_are_ranked_and_the_one_that_draws_leaves_nothing(folder):
    content = json.loads((folder / "units.json").read_text())
    assert [unit["channel"] for unit in content["units"][:3]] == [SQUARE, NOISY, SHIFTED]
    assert content["units"][0]["iou"] == 1
    assert content["units"][0]["deviations_beyond_chance"] > 5
    assert next(unit for unit in content["units"] if unit["channel"] == CONSTANT)["deviations_beyond_chance"] == 0
    first, second = content["removal"]
    assert (first["units"], first["left"], second["left"]) == (1, 0, 0)
    for row in content["removal"]:  # a set leaves nothing if the drawing unit is in it, else all
        assert set(row["left_without_random_sets"]) <= {0, 1}
        assert row["left_without_random"] == pytest.approx(np.mean(row["left_without_random_sets"]))
    with Image.open(folder / "units.png") as sheet:
        assert sheet.width > 6 * 160


def test_the_share_left_is_a_ratio_of_sums_with_the_error_of_one():
    random = np.random.default_rng(0)
    before = random.integers(50, 100, size=400)
    after = random.binomial(before, 0.3)
    ratio, error = share_left(before, after)
    assert ratio == pytest.approx(after.sum() / before.sum())
    resampled = random.integers(400, size=(2000, 400))
    assert error == pytest.approx((after[resampled].sum(axis=1) / before[resampled].sum(axis=1)).std(), rel=0.1)
    assert np.isnan(share_left(np.zeros(3, int), np.zeros(3, int))).all()
    assert by_site([(2, 5), (0, 1), (2, 3)]) == {0: (1,), 2: (3, 5)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "concept must be one of square, nothing here; got ''"),
        ({"concept": "sqare"}, "did you mean 'square'"),
        ({"concept": "nothing here"}, "is in none of 40 images of planted-units"),
        ({"concept": "square", "sites": [1]}, "site must be in 0..0"),
        ({"concept": "square", "segmenter": ""}, "segmenter must be given"),
        ({"concept": "square", "removed": [2, 2]}, "removed must be different numbers"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        run_dissect(*merged_command(DissectCommandOptions, None, PLANTED | {"output": str(tmp_path / "a")} | flags))
    assert not (tmp_path / "a" / "units.png").exists()


def test_the_command_says_where_the_sheet_is(monkeypatch, capsys, tmp_path):
    arguments = ["--segmenter", "garment-parts", "--concept", "upper half", "--classes", "bag", "--images", "8"]
    arguments += ["--threshold-images", "8", "--sites", "4,5", "--removed", "1,4", "--random-sets", "1"]
    code, printed = run(monkeypatch, capsys, "dissect", *arguments, "--output", tmp_path / "units")
    assert code == 0, printed.err
    assert printed.out == f"sheet: {tmp_path / 'units' / 'units.png'}\n"


CORNERS = {
    "generator": "tests.planted_units:CornerGenerator",
    "threshold_images": 200,
    "removed": [1, 2],
    "pictures": 4,
}
"""Units by place: on in the corner of the square, on two rows below it, on in all of the square."""
COLOURS = {"corner": (255, 0, 0), "rest": (0, 255, 0), "elsewhere": (0, 0, 255)}


def corner_annotations(count):
    """Label maps of the corner of each square and of the rest of it."""
    generator = CornerGenerator()
    z = generator.sample_latents(3, 0, range(count))
    labels = torch.where(corners(z), 0, torch.where(squares(z), 1, -1))
    return Annotations(z, torch.arange(count) % 2, labels, COLOURS)


@pytest.fixture(scope="module")
def corner_masks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corners") / "masks"
    write_annotations(folder, corner_annotations(40), CornerGenerator())
    return folder


def dissected(folder, output, **flags):
    flags = CORNERS | {"masks": str(folder), "output": str(output)} | flags
    run_dissect(*merged_command(DissectCommandOptions, None, flags))
    return json.loads((output / "units.json").read_text())


def test_overlaps_with_masks_have_their_closed_form(corner_masks, tmp_path):
    """Half a percent of 256 pixels is more than one pixel per image and less than two."""
    content = dissected(corner_masks, tmp_path, concept="corner")
    assert content["images"] == content["options"]["images"] == 40
    assert content["share_of_pixels"] == 1 / SIDE**2
    best, *others = content["units"]
    assert (best["channel"], best["threshold"], best["iou"]) == (SQUARE, 0, 1)
    assert {unit["iou"] for unit in others} == {0}
    # By chance: the corners of other images that are at the same place, within blocks of 32 images.
    places = corner_annotations(40).z[:, :2].sigmoid()
    corner = [tuple(row) for row in (places * (SIDE - EDGE - 1)).long().tolist()]
    blocks = [corner[:32], corner[32:]]
    both = sum(sum(one == other for one in block for other in block) / len(block) for block in blocks)
    assert best["iou_by_chance"] == pytest.approx(both / (40 + 40 - both))
    assert best["deviations_beyond_chance"] > 5
    of_rest = {unit["channel"]: unit["iou"] for unit in content["best_units_by_concept"]["rest"]}
    assert of_rest[SHIFTED] == pytest.approx(1 / (EDGE**2 - 1))
    assert of_rest[SQUARE] == 0
    assert content["best_units_by_concept"]["elsewhere"] == []
    assert content["removal"] is None
    assert content["annotations"] == corner_annotations(40).digest
    assert content["identity"]["spec"]["classes"] == [0, 1]
    with Image.open(tmp_path / "units.png") as sheet:
        assert sheet.height > (1 + 5 + 3) * 160


def test_a_concept_in_fewer_images_than_the_sheet_has_columns_is_drawn(tmp_path):
    annotations = corner_annotations(4)
    annotations.labels[1:][annotations.labels[1:] == 0] = -1
    write_annotations(tmp_path / "masks", annotations, CornerGenerator())
    content = dissected(tmp_path / "masks", tmp_path / "units", concept="corner")
    assert content["share_of_pixels"] == 1 / 4 / SIDE**2
    assert content["units"][0]["iou"] == 1 / 4


@pytest.mark.parametrize(
    ("count", "flags", "message"),
    [
        (3, {"concept": "elsewhere"}, "concept 'elsewhere' is in none of the 3 label maps; paint it, or name another"),
        (3, {"concept": "corners"}, "concept must be one of corner, rest, elsewhere; got 'corners'; did you mean 'cor"),
        (3, {"concept": "nothing"}, "concept must be one of corner, rest, elsewhere; got 'nothing'"),
        (1, {"concept": "corner"}, "masks must have at least 2 annotated images, since .* has 1"),
        (
            3,
            {"concept": "corner", "generator": "fashion-biggan"},
            "holds latents of generator 'planted-corners'; got f",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, count, flags, message):
    write_annotations(tmp_path / "masks", corner_annotations(count), CornerGenerator())
    with pytest.raises(InputError, match=message):
        dissected(tmp_path / "masks", tmp_path / "units", **flags)
    assert not (tmp_path / "units").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "latents.safetensors does not exist; it holds the latents of the annotated images"),
        (["--segmenter", "garment-parts"], "segmenter does not go with masks: either labels the pixels; leave out --s"),
        (["--classes", "bag"], "classes does not go with masks: the classes are those of the annotated images"),
        (["--images", "40"], "images does not go with masks: units are compared with the concept in the annotated im"),
        (["--random-sets", "2"], "random_sets does not go with masks: what is left of the concept cannot be measured"),
    ],
)
def test_the_command_refuses_masks_in_one_line(monkeypatch, capsys, tmp_path, arguments, message):
    place = ["--masks", tmp_path / "nowhere", "--output", tmp_path / "units"]
    code, printed = run(monkeypatch, capsys, "dissect", "--concept", "collar", *place, *arguments)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "units").exists()


def test_the_example_of_the_page_makes_a_folder_that_is_dissected(monkeypatch, capsys, tmp_path):
    """Although scenes-biggan has a segmenter by default, the label maps are used."""
    monkeypatch.chdir(tmp_path)
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "my-masks" in block
    )
    exec(code, {})
    command = re.search(r"^cawa (dissect .*--masks my-masks.*)$", PAGE.read_text(), re.MULTILINE)[1].split()
    arguments = ["--threshold-images", "30", "--removed", "1", "--sites", "7", "--output", "units"]
    code, printed = run(monkeypatch, capsys, *command, *arguments)
    assert code == 0, printed.err
    content = json.loads(Path("units/units.json").read_text())
    assert content["identity"]["spec"]["segmenter"] == ""
    assert (content["images"], content["concept"]) == (12, "bright")
    assert sorted(path.name for path in Path("my-masks").glob("0*.png")) == [f"{place:03d}.png" for place in range(12)]
