"""``cawa dissect``: the sheet, the units, what is left without them, and input that does not fit."""

import json

import numpy as np
import pytest
from PIL import Image

from cawa_core.dissection.removal import by_site, share_left
from cawa_core.errors import InputError
from tests.planted_units import CONSTANT, NOISY, SHIFTED, SQUARE
from tests.workflows.test_cli import run
from workflows.analyses.dissection.command import DissectCommandOptions
from workflows.analyses.dissection.sheet import run_dissect
from workflows.commands.options import merged_command

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
