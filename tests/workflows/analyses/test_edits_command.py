"""``cawa edit`` on the bundled generator: the sheet, its numbers, and input that does not fit."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core import interventions
from cawa_core.edits.suggestions import edit_scores, edit_suggestions
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale, Shift
from cawa_core.semantics.layout_files import palette_of
from tests.workflows.test_cli import run
from workflows.analyses.edits.command import EditCommandOptions
from workflows.analyses.edits.sheet import run_edit
from workflows.analyses.edits.work import candidates
from workflows.commands.options import merged_command
from workflows.folders.identity import identity_of
from workflows.lab import Lab
from workflows.options.audit import audit_spec


def edited(folder, **fields):
    edit, spec, options = merged_command(EditCommandOptions, None, {"output": str(folder), **fields})
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
    (found,) = added["edits"]
    assert found["scores"][0] == times["edits"][0]["scores"][0] == found["unedited_scores"]
    assert times["edits"][0]["deviations"] is None
    lab = opened(3)
    wide = lab.latents(3, 16)
    features = lab.generator.run_to(4, wide, class_ids_of(3, wide)).features[:, 7].detach()
    assert found["deviations"] == [pytest.approx(features.std(correction=0).item(), rel=1e-5)]
    edit = Intervention(4, (7,), Shift(found["deviations"][0]))
    assert found["scores"][1] == pytest.approx(scores_under(lab, 3, lab.latents(3, 3), edit), rel=1e-5)
    assert found["scores"][1] != found["scores"][0]


def opened(class_id):
    return Lab.open(classes=[class_id])


def scores_under(lab, class_id, z, edit):
    images = interventions.run(lab.generator, z, class_ids_of(class_id, z), [edit])
    return lab.evaluator.log_probabilities(images)[:, class_id].exp().tolist()


def test_a_region_through_the_command(monkeypatch, capsys, tmp_path):
    """Bright on the left: the scores are those of an edit with these weights, and the file names the picture."""
    weights = np.zeros((28, 28), dtype=np.uint8)
    weights[:, :14] = 255
    path = tmp_path / "left.png"
    Image.fromarray(weights).save(path)
    flags = ["--classes=bag", "--site=4", "--channels=17", "--strengths=1,3", "--latents=2", f"--region={path}"]
    code, printed = run(monkeypatch, capsys, "edit", *flags, f"--output={tmp_path / 'edit'}")
    assert code == 0, printed.err
    written = json.loads((tmp_path / "edit/edit.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert written["region"] == {"path": str(path), "sha256": digest, "parts": []}
    lab = opened(8)
    z, (found,) = lab.latents(8, 2), written["edits"]
    part, whole = (
        scores_under(lab, 8, z, Intervention(4, (17,), Scale(3), region=region))
        for region in (torch.from_numpy(weights / 255).float(), None)
    )
    assert found["scores"][1] == pytest.approx(part, rel=1e-5)
    assert found["scores"][1] != pytest.approx(whole, rel=1e-3)
    assert found["scores"][0] == found["unedited_scores"]


def test_the_file_says_what_made_it(tmp_path):
    _, found = edited(tmp_path, classes=["bag"], site=4, channels=[17], latents=1)
    identity = identity_of(opened(8), audit_spec(), [8])
    assert found["identity"] == identity.as_data()
    assert found["options"]["strengths"] == [0, 1, 2, 3]
    assert "output" not in found["options"]


def test_a_picture_at_a_time(tmp_path):
    """Batches change no number beyond rounding, deviations included; no pass is larger."""
    flags = {"classes": [3], "site": 4, "channels": [7], "operation": "add", "latents": 3}
    (whole,), (single,) = (edited(tmp_path / str(size), batch_size=size, **flags)[1]["edits"] for size in (0, 1))
    assert whole["deviations"] == pytest.approx(single["deviations"], rel=1e-5)
    np.testing.assert_allclose(whole["scores"], single["scores"], rtol=1e-4)


def test_multiplying_takes_no_deviations(monkeypatch, tmp_path):
    monkeypatch.setattr("workflows.analyses.edits.sheet.channel_deviations", None)
    edited(tmp_path, classes=[3], site=4, channels=[7], latents=1)


def test_the_page_shows_code_that_runs():
    page = (Path(__file__).parents[3] / "docs/applications.md").read_text()
    names: dict[str, object] = {}
    for block in page.split("```python\n")[1:]:
        exec(block.split("```")[0], names)
    generator, pictures = names["generator"], names["pictures"]
    assert pictures.shape == (4, 1, 28, 28)
    assert not torch.equal(pictures, generator(names["z"], names["bags"]))
    assert 0 < names["parts"].foreground.mean() < 1


def test_suggestions_come_with_a_sheet(tmp_path):
    result, found = edited(tmp_path, classes=["bag"], suggest=True, candidates=24, scored_latents=5)
    assert len(result.suggestions) == 10
    assert {(one["n_tried"], one["n_samples"], one["factor"]) for one in found["suggestions"]} == {(4, 5, 3.0)}
    assert all(one["merit_stderr"] > 0 for one in found["suggestions"])
    assert found["latents"] == [4]
    assert [one["merit"] for one in found["suggestions"]] == [one.merit for one in result.suggestions]
    assert [(one["site"], one["channels"][0]) for one in found["edits"]] == [
        (one.site, one.channel) for one in result.suggestions[:6]
    ]


def test_suggestions_heed_site_and_strengths(tmp_path):
    """At one site, ranked and scored by the last factor."""
    flags = {"site": 4, "strengths": [1, 0], "candidates": 12, "tried_latents": 2, "scored_latents": 2}
    result, found = edited(tmp_path, classes=["bag"], suggest=True, **flags)
    assert {one.site for one in result.suggestions} == {4}
    lab = opened(8)
    models, z = (lab.generator, lab.evaluator), lab.latents(8, 4)
    tried = edit_suggestions(*models, z[:2], 8, candidates(lab, 8, 12, only=4), factor=0)[:10]
    assert [one.channel for one in result.suggestions] == [one.channel for one in tried]
    scored = edit_scores(*models, z[2:], 8, [(4, one.channel) for one in tried], factor=0)
    assert [one.merit for one in result.suggestions] == pytest.approx([one.merit for one in scored], rel=1e-4)
    assert {one["factor"] for one in found["suggestions"]} == {0}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "classes must name at least one class to edit"),
        (["--classes", "shrit"], "did you mean 'shirt'?"),
        (["--classes", "1"], "channels must be different ones, at least one"),
        (["--classes", "1", "--channels", "4"], "site must be given with channels"),
        (["--classes", "1", "--site", "0", "--channels", "4000"], "channels must be in 0..127 at site 0"),
        (["--classes", "1", "--channels", "x"], "channels: input should be a valid integer; got 'x'"),
        (["--classes", "1", "--channels", "1", "--site", "9"], "site must be in 0..5 for fashion-biggan; got 9"),
        (
            ["--classes", "1", "--site", "0", "--channels", "1", "--operation", "warp"],
            "operation: input should be 'multiply'",
        ),
        (
            ["--classes", "1", "--site", "0", "--channels", "1", "--latents", "99"],
            "latents times classes must be at most 60, the rows of pictures on a sheet; got 99 x 1",
        ),
        (["--classes", "1", "--site", "0", "--channels", "1", "--region", "none.png"], "region none.png cannot be"),
        (
            ["--classes", "1", "--suggest", "--latents", "11"],
            "latents times edits must be at most 60, the rows of pictures on a sheet; got 11 x 6",
        ),
        (["--classes", "1", "--suggest", "--site", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["--classes", "1", "--suggest", "--operation", "add"], "suggest multiplies channels everywhere"),
        (["--classes", "1", "--suggest", "--region", "left.png"], "got region left.png: leave it out"),
        (["--classes", "1", "--suggest", "--strengths", "0,1"], "strengths must end in the factor"),
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
    flags = [
        "--classes=1",
        "--site=0",
        "--channels=1",
        f"--region={tmp_path / 'region.png'}",
        f"--output={tmp_path / 'edit'}",
    ]
    code, printed = run(monkeypatch, capsys, "edit", *flags)
    assert code == 2
    assert "28 x 28 pixels" in printed.err
    assert "has 20 x 10" in printed.err


SCENES = ("--generator", "scenes-biggan", "--training-images", "60")


def stroke(path, label, categories, rows, columns, side=32):
    """Paint a rectangle on a transparent picture."""
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[rows, columns] = (*palette_of(categories)[label], 255)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def categories():
    return ("nothing", *Lab.open("scenes-biggan", needs=("segmenter",)).segmenter.concepts)


@pytest.mark.parametrize("way", ["features", "site_latents"])
def test_an_image_is_edited_by_painted_labels(tmp_path, monkeypatch, capsys, categories, way):
    """A tree on the shore of a class whose images have trees there."""
    path = stroke(tmp_path / "strokes.png", "tree", categories, slice(14, 21), slice(24, 31))
    options = ("--classes", "tower by the sea", "--labels", path, "--way", way, "--steps", "30")
    code, printed = run(monkeypatch, capsys, "edit", *SCENES, *options, "--output", tmp_path / "out")
    assert code == 0, printed.err
    content = json.loads((tmp_path / "out/edit.json").read_text())
    assert content["class"] == "tower by the sea"
    assert (content["pixels"], content["outside_pixels"]) == (49, 32**2 - 49)
    assert content["after"] > content["before"] + 10
    assert content["outside_kept"] > 0.8 * content["outside_pixels"]
    assert content["change"] > 2 * content["outside_change"]
    assert f"{content['after'] / 49:.0%} after" in printed.out
    with Image.open(tmp_path / "out/edited.png") as image, Image.open(tmp_path / "out/edit.png") as sheet:
        assert image.size == (32, 32)
        assert sheet.width > 5 * 160
    lab = Lab.open("scenes-biggan", classes=("tower by the sea",))
    before = lab.images(lab.class_ids[0], lab.latents(lab.class_ids[0], 1))[1]
    assert content["p"][0] == pytest.approx(float(before[0]), rel=1e-4)


def test_an_image_of_a_folder_is_painted_on(tmp_path, monkeypatch, capsys, categories):
    """The second image of `cawa sample`, by its latents."""
    random = tmp_path / "random"
    code, printed = run(monkeypatch, capsys, "sample", *SCENES, "--classes", "7", "--images", "2", "--output", random)
    assert code == 0, printed.err
    path = stroke(tmp_path / "strokes.png", "sky", categories, slice(0, 4), slice(0, 32))
    options = ("--pictures", random, "--image", "1", "--labels", path, "--steps", "1")
    code, printed = run(monkeypatch, capsys, "edit", *SCENES, *options, "--output", tmp_path / "out")
    assert code == 0, printed.err
    assert json.loads((tmp_path / "out/edit.json").read_text())["class"] == "church in the snow"
    sampled = np.array(Image.open(random / "image-001.png"), float)
    edited_image = np.array(Image.open(tmp_path / "out/edited.png"), float)
    assert np.abs(edited_image - sampled).mean() < 12  # one step moves it little
    code, printed = run(monkeypatch, capsys, "edit", *SCENES, *options[:2], "--image", "2", *options[4:])
    assert code == 2
    assert "image must be in 0..1" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--classes", "3", "--channels", "4"), "channels does not go with labels"),
        (("--classes", "3", "--suggest"), "suggest does not go with labels"),
        ((), "labels needs either classes, one of them, or pictures; got neither"),
        (("--classes", "3", "--pictures", "folder"), "got both"),
        (("--classes", "3,4"), "classes must be one for --labels, which edits one image; got 2"),
        (("--pictures", "folder"), "folder/latents.safetensors does not exist"),
        (("--classes", "3", "--extractor", "none"), "extractor none cannot be read"),
        (("--classes", "3", "--way", "pixels"), "way"),
        (("--classes", "3", "--segmenter", ""), "segmenter must be given, or a trained map"),
    ],
)
def test_painted_input_that_does_not_fit(tmp_path, monkeypatch, capsys, categories, arguments, message):
    monkeypatch.chdir(tmp_path)
    path = stroke("strokes.png", "tree", categories, slice(0, 4), slice(0, 4))
    code, printed = run(monkeypatch, capsys, "edit", *SCENES, "--labels", path, *arguments, "--output", "out")
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not Path("out").exists()


def test_strokes_that_are_not_there(tmp_path, monkeypatch, capsys):
    options = ("--classes", "3", "--labels", tmp_path / "none.png", "--output", tmp_path / "out")
    code, printed = run(monkeypatch, capsys, "edit", *SCENES, *options)
    assert code == 2
    assert f"labels {tmp_path / 'none.png'} cannot be read: No such file or directory" in printed.err
    assert not (tmp_path / "out").exists()
