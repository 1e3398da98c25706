"""``cawa sample``: random images to paint on, images of a layout, and input that does not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cawa_core.semantics.categories import category_maps_of
from cawa_core.semantics.layout_files import palette_of
from tests.workflows.test_cli import run
from workflows.lab import Lab

GENERATOR = ("--generator", "scenes-biggan")
PAGE = Path(__file__).parent.parent.parent.parent / "docs/layouts.md"


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Random images of a class with their label maps, and the file of a trained map."""
    folder = tmp_path_factory.mktemp("sampled")
    with pytest.MonkeyPatch.context() as patch:
        code = run_quietly(
            patch, "sample", *GENERATOR, "--classes", "7", "--images", "3", "--output", folder / "random"
        )
        assert code == 0
        few = ("--training-images", "60", "--tested-images", "30", "--classes", "7")
        assert run_quietly(patch, "semantics", *GENERATOR, *few, "--output", folder / "map") == 0
    return folder


def run_quietly(patch, *arguments):
    from workflows import cli

    patch.setattr("sys.argv", ["cawa", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code or 0
    return 0


def test_random_images_are_those_of_the_latents_with_the_segmenters_labels(sampled):
    folder = sampled / "random"
    lab = Lab.open("scenes-biggan", needs=("segmenter",))
    tensors = load_file(folder / "latents.safetensors")
    assert tensors["z"].equal(lab.latents(7, 3))
    assert tensors["class_ids"].tolist() == [7] * 3
    palette = palette_of(("nothing", *lab.segmenter.concepts))
    assert json.loads((folder / "labels.json").read_text()) == {name: list(colour) for name, colour in palette.items()}
    with torch.inference_mode():
        images = lab.generator(tensors["z"], tensors["class_ids"])
        labels = lab.segmenter.segment(images)
    colours = np.array(list(palette.values()), np.uint8)
    for place in range(3):
        pixels = np.array(Image.open(folder / f"image-{place:03d}.png"))
        assert np.abs(pixels / 127.5 - 1 - images[place].permute(1, 2, 0).numpy()).max() < 0.005
        assert (np.array(Image.open(folder / f"map-{place:03d}.png")) == colours[labels[place].numpy() + 1]).all()
    with Image.open(folder / "sample.png") as sheet:
        assert sheet.height > 2 * 160


def test_optimised_images_have_the_layout_more_closely(sampled, tmp_path, monkeypatch, capsys):
    extractor = sampled / "map/extractor.safetensors"
    options = ("--classes", "7", "--images", "2", "--layout", sampled / "random/map-001.png", "--extractor", extractor)
    code, printed = run(monkeypatch, capsys, "sample", *GENERATOR, *options, "--output", tmp_path / "a")
    assert code == 0, printed.err
    shares = {words: float(share) for words, share in re.findall(r": (.*), (\S+)% of the layout", printed.out)}
    assert list(shares) == ["closest of 20 draws", "after 50 steps", "closest of 320 draws"]
    assert shares["after 50 steps"] > shares["closest of 20 draws"]
    content = json.loads((tmp_path / "a/sample.json").read_text())
    assert [100 * np.mean(each["agreement"]) for each in content["images"]] == pytest.approx(
        list(shares.values()), abs=0.06
    )
    wanted = np.array(Image.open(sampled / "random/map-001.png"))
    final = np.array(Image.open(tmp_path / "a/map-000.png"))
    assert (wanted == final).all(axis=2).mean() == pytest.approx(content["images"][1]["agreement"][0], abs=1e-6)


def test_without_a_segmenter_the_map_of_the_features_labels(sampled, tmp_path, monkeypatch, capsys):
    options = ("--segmenter", "", "--extractor", sampled / "map/extractor.safetensors", "--images", "1")
    code, printed = run(monkeypatch, capsys, "sample", *GENERATOR, *options, "--output", tmp_path / "a")
    assert code == 0, printed.err
    assert json.loads((tmp_path / "a/sample.json").read_text())["labelled_by"] == "extractor"


def test_the_example_of_the_guide_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(example, names := {})
    assert "torch.Size([1, 3, 32, 32]) torch.Size([1, 3, 32, 32])" in capsys.readouterr().out
    cloud = names["file"].categories.index("cloud")
    lab = names["lab"]
    stroke = names["wanted"] == cloud
    with torch.inference_mode():
        before = lab.generator(lab.latents(7, 1), names["ids"])
        images = torch.cat([before, names["by_layout"], names["by_strokes"]])
        shares = (category_maps_of(lab.segmenter, images)[:, stroke] == cloud).float().mean(dim=1)
    assert shares[1] > shares[0]
    assert shares[2] > shares[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layout", "none.png"), "layout none.png cannot be read: No such file or directory"),
        (("--layout", "small.png"), "small.png must have 32 x 32 pixels"),
        (("--layout", "grey.png"), "grey.png has 1,024 pixels of colour [7, 7, 7]"),
        (("--layout", "black.png"), "black.png is black or transparent everywhere"),
        (("--layout", "other/a.png"), "names 'zebra', which is not read off the features"),
        (("--extractor", "none"), "extractor none cannot be read"),
        (("--extractor", "black.png"), "not a safetensors file"),
        (("--classes", "99"), "classes must be in 0..29"),
        (("--images", "0"), "images"),
        (("--segmenter", ""), "segmenter must be given, or a trained map of the features by --extractor"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name, side, value in (("small", 31, 7), ("grey", 32, 7), ("black", 32, 0)):
        Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(f"{name}.png")
    Path("other").mkdir()
    Path("other/labels.json").write_text('{"zebra": [7, 7, 7]}')
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save("other/a.png")
    code, printed = run(monkeypatch, capsys, "sample", *GENERATOR, *arguments, "--output", "out")
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_map_of_another_generator_is_refused(sampled, tmp_path, monkeypatch, capsys):
    options = ("--extractor", sampled / "map/extractor.safetensors", "--output", tmp_path / "out")
    code, printed = run(monkeypatch, capsys, "sample", *options)
    assert code == 2
    assert "reads features of scenes-biggan" in printed.err
    assert not (tmp_path / "out").exists()
