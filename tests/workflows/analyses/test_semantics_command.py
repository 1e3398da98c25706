"""``cawa semantics``: the map, the sheet, the example of the guide, and input that does not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core.annotations import Annotations, write_annotations
from cawa_core.rendering.label_colours import coloured, label_colours
from tests.workflows.test_cli import run
from workflows.lab import Lab

PAGE = Path(__file__).parent.parent.parent.parent / "docs/semantics.md"
FEW = ("--generator", "scenes-biggan", "--training-images", "60", "--tested-images", "30")


def painted(folder, count):
    """Write annotations of images of the bundled generator, as its segmenter labels them."""
    lab = Lab.open("scenes-biggan", needs=("segmenter",))
    z, ids = lab.generator.sample_latents(3, 0, range(count)), torch.arange(count) * 7 % 30
    with torch.inference_mode():
        maps = lab.segmenter.segment(lab.generator(z, ids))
    colours = {name: (number, 1, 1) for number, name in enumerate(lab.segmenter.concepts)}
    write_annotations(folder, Annotations(z, ids, maps, colours), lab.generator)


def test_the_example_of_the_guide_reads_the_file_that_the_command_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, printed = run(monkeypatch, capsys, "semantics", *FEW, "--classes", "0,7", "--latents", "3")
    assert code == 0, printed.err
    folder = Path("results/scenes-biggan-semantics")
    content = json.loads((folder / "semantics.json").read_text())
    mean = content["score"]["miou"]
    assert mean == pytest.approx(
        np.mean([content["score"]["iou"][name] for name in content["labels"]["categories"][1:]])
    )
    assert mean > 0.5
    assert f"mIoU {mean:.3f} over all pixels" in printed.out
    with Image.open(folder / "semantics.png") as sheet:
        assert sheet.height > 6 * 168
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(example, names := {})
    assert "torch.Size([4, 32, 32])" in capsys.readouterr().out
    assert names["labels"].shape == (4, 32, 32)
    assert names["file"].method == "lda"
    code, again = run(
        monkeypatch, capsys, "semantics", *FEW, "--extractor", folder / "extractor.safetensors", "--output", "again"
    )
    assert code == 0, again.err
    assert again.out.splitlines()[:-1] == printed.out.splitlines()[:-1]
    assert (Path("again") / "extractor.safetensors").read_bytes() == (folder / "extractor.safetensors").read_bytes()


@pytest.mark.parametrize("method", ["lda", "ridge"])
def test_eight_painted_images_teach_a_map(tmp_path, monkeypatch, capsys, method):
    painted(tmp_path / "masks", 8)
    arguments = ("--generator", "scenes-biggan", "--masks", tmp_path / "masks", "--method", method)
    code, printed = run(monkeypatch, capsys, "semantics", *arguments, "--output", tmp_path / "out")
    assert code == 0, printed.err
    assert "8 annotated images, each by the map of all others" in printed.out
    content = json.loads((tmp_path / "out/semantics.json").read_text())
    assert content["score"]["miou"] > 0.3
    assert content["labels"]["source"] == "masks"


def test_colours_are_different_and_stay_the_same():
    colours = label_colours(30)
    assert len(np.unique(colours, axis=0)) == 30
    np.testing.assert_array_equal(label_colours(4), colours[:4])
    picture = coloured(np.array([[0, 2], [1, 0]]))
    assert picture.tolist() == [[[0, 0, 0], colours[1].tolist()], [colours[0].tolist(), [0, 0, 0]]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--extractor", "missing.safetensors"), "extractor missing.safetensors cannot be read: No such file"),
        (("--extractor", "text.safetensors"), "text.safetensors is truncated, damaged or not a safetensors file"),
        (("--extractor", "x", "--masks", "y"), "extractor does not go with masks"),
        (("--masks", "masks", "--method", "lse"), "method must be lda or ridge with masks; got lse"),
        (("--masks", "nowhere"), "does not exist; it holds the latents of the annotated images"),
        (("--sites", "9"), "site must be in 0..7 for scenes-biggan; got 9"),
        (("--classes", "castel"), "no class is named 'castel'"),
        (("--segmenter", "scenes"), "segmenter must be one of"),
        (("--method", "nse1"), "method: input should be 'lda', 'ridge' or 'lse'; got 'nse1'"),
    ],
)
def test_input_that_does_not_fit_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("a text")
    code, printed = run(monkeypatch, capsys, "semantics", *FEW, *arguments)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not Path("results").exists()


def test_a_map_of_another_generator_is_refused(tmp_path, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "semantics", *FEW, "--output", tmp_path / "out")
    assert code == 0, printed.err
    arguments = ("--segmenter", "garment-parts", "--extractor", tmp_path / "out/extractor.safetensors")
    code, printed = run(monkeypatch, capsys, "semantics", *arguments, "--output", tmp_path / "other")
    assert code == 2
    assert "reads features of scenes-biggan with weights" in printed.err
    assert not (tmp_path / "other").exists()
