"""``cawa edit`` on the bundled generator: the sheet, its numbers, and input that does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.workflows.test_cli import run
from workflows.applications.edit import run_edit
from workflows.applications.options import EditSpec, merged_application


def edited(folder, **fields):
    edit, spec, options = merged_application(EditSpec, None, {"output": str(folder), **fields})
    return run_edit(edit, spec, options), json.loads((folder / "edit.json").read_text())


def test_a_sheet_of_two_classes(tmp_path):
    _, found = edited(tmp_path, classes=["shirt", 8], site=2, channels=[5, 9], latents=2, strengths=[1, 3])
    assert [one["class"] for one in found["edits"]] == ["shirt", "bag"]
    assert np.shape(found["edits"][0]["scores"]) == (2, 2)
    with Image.open(tmp_path / "edit.png") as sheet:
        assert sheet.width > 2 * 168
        assert sheet.height > 4 * 168


def test_adding_is_in_deviations(tmp_path):
    """Adding nothing scores as multiplying by one does; a step of one deviation is as large as the file says."""
    _, added = edited(tmp_path / "add", classes=[3], site=4, channels=[7], operation="add", strengths=[0, 1])
    _, times = edited(tmp_path / "times", classes=[3], site=4, channels=[7], strengths=[1])
    assert added["edits"][0]["scores"][0] == times["edits"][0]["scores"][0]
    assert added["edits"][0]["deviations"][0] > 0


def test_the_page_shows_code_that_runs():
    page = (Path(__file__).parents[2] / "docs/applications.md").read_text()
    names: dict[str, object] = {}
    for block in page.split("```python\n")[1:]:
        exec(block.split("```")[0], names)
    generator, pictures = names["generator"], names["pictures"]
    assert pictures.shape == (4, 1, 28, 28)
    assert not torch.equal(pictures, generator(names["z"], names["bags"]))
    assert 0 < names["parts"].foreground.mean() < 1


def test_suggestions_come_with_a_sheet(tmp_path):
    result, found = edited(tmp_path, classes=["bag"], suggest=True, candidates=24, latents=2)
    assert len(result.suggestions) == 24
    assert [one["merit"] for one in found["suggestions"]] == [one.merit for one in result.suggestions]
    assert [(one["site"], one["channels"][0]) for one in found["edits"]] == [
        (one.site, one.channel) for one in result.suggestions[:6]
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "classes must name at least one class to edit"),
        (["--classes", "shrit"], "did you mean 'shirt'?"),
        (["--classes", "1"], "channels must be different ones, at least one"),
        (["--classes", "1", "--channels", "4000"], "channels must be in 0..127 at site 0"),
        (["--classes", "1", "--channels", "x"], "channels: input should be a valid integer; got 'x'"),
        (["--classes", "1", "--channels", "1", "--site", "9"], "site must be in 0..5 for fashion-biggan; got 9"),
        (["--classes", "1", "--channels", "1", "--operation", "warp"], "operation: input should be 'multiply'"),
        (["--classes", "1", "--channels", "1", "--latents", "99"], "latents must be at most 60 for 1 classes"),
        (["--classes", "1", "--channels", "1", "--region", "none.png"], "region none.png cannot be read"),
        (["--classes", "1,2", "--suggest"], "classes must be one for --suggest"),
        (["--classes", "1", "--suggest", "--channels", "1"], "leave out --channels or --suggest"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    output = tmp_path / "edit"
    code, printed = run(monkeypatch, capsys, "edit", "--output", output, *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()


def test_a_region_of_another_size(monkeypatch, capsys, tmp_path):
    Image.new("L", (20, 10)).save(tmp_path / "region.png")
    flags = ["--classes=1", "--channels=1", f"--region={tmp_path / 'region.png'}", f"--output={tmp_path / 'edit'}"]
    code, printed = run(monkeypatch, capsys, "edit", *flags)
    assert code == 2
    assert "28 x 28 pixels" in printed.err
    assert "has 20 x 10" in printed.err
