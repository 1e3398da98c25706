"""``cawa annotate``: a folder to paint in, its check, and input that does not fit."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.workflows.test_cli import run

SCENES = ("--generator", "scenes-biggan")


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "masks"
    arguments = ("--concepts", "door,dark part", "--images", "3", "--classes", "0,7", "--output", folder)
    code, printed = run(monkeypatch, capsys, "annotate", *SCENES, *arguments)
    assert code == 0, printed.err
    assert "3 images of scenes-biggan" in printed.out
    return folder


def paint(folder, name, colour, rows):
    pixels = np.array(Image.open(folder / name).convert("RGB"))
    pixels[rows] = colour
    Image.fromarray(pixels).save(folder / name)


def test_a_painted_folder_is_checked_and_teaches_a_map(folder, monkeypatch, capsys, tmp_path):
    colours = json.loads((folder / "labels.json").read_text())
    assert list(colours) == ["door", "dark part"]
    assert sorted(path.name for path in folder.glob("*.png")) == [
        f"{prefix}00{place}.png" for prefix in ("", "image-") for place in range(3)
    ]
    code, printed = run(monkeypatch, capsys, "annotate", *SCENES, "--check", folder)
    assert (code, "show none of door, dark part; paint them" in printed.err) == (2, True), printed.err
    paint(folder, "000.png", colours["door"], slice(8))
    paint(folder, "002.png", colours["dark part"], slice(16))
    code, printed = run(monkeypatch, capsys, "annotate", *SCENES, "--check", folder)
    assert code == 0, printed.err
    assert "door  in 1 image, 8.3% of all pixels" in printed.out
    assert "dark part  in 1 image, 16.7% of all pixels" in printed.out
    assert "warning: no concept in 001.png" in printed.out
    code, printed = run(monkeypatch, capsys, "semantics", *SCENES, "--masks", folder, "--output", tmp_path / "out")
    assert code == 0, printed.err
    paint(folder, "001.png", (1, 2, 3), slice(1))
    code, printed = run(monkeypatch, capsys, "annotate", *SCENES, "--check", folder)
    assert (code, "of colour [1, 2, 3]" in printed.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "concepts must name what to paint, such as --concepts door,window; got none"),
        (("--concepts", "nothing"), "concepts must not name 'nothing'"),
        (("--concepts", "door,door"), "concepts must be different names; got 'door' twice"),
        (("--concepts", "x" * 99), "names of concepts must be printable, with 1 to 80 letters"),
        (("--concepts", "door", "--images", "0"), "images: input should be greater than or equal to 1; got 0"),
        (("--concepts", "door", "--classes", "castel"), "no class is named 'castel'"),
        (("--concepts", "door", "--check", "x"), "concepts does not go with check"),
        (("--check", "nowhere"), "does not exist; it holds the latents of the annotated images"),
    ],
)
def test_input_that_does_not_fit_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, printed = run(monkeypatch, capsys, "annotate", *SCENES, *arguments)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_painted_work_is_never_overwritten(folder, monkeypatch, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, printed = run(monkeypatch, capsys, "annotate", *SCENES, "--concepts", "door", "--output", folder)
    assert (code, "exists; give a folder without annotations" in printed.err) == (2, True)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
