"""Folders of real images in which some pictures cannot be read, through the command line."""

import json

import pytest
from PIL import Image

from cawa_core.real_images.fashion import CLASS_NAMES, FashionMnistTest
from cawa_core.real_images.folder import ImageFolder
from cawa_core.rendering.pixels import as_pixels
from tests.workflows.test_cli import run

BAG, TROUSER = 8, 1
ARGUMENTS = ("--classes", "1,8", "--stages", "class_metrics", "--metric-samples", 20, "--ms-ssim-samples", 2)
ARGUMENTS += (
    "--executor",
    "inline",
    "--permutations",
    20,
    "--bootstraps",
    20,
    "--real-images",
    "real",
    "--output",
    "out",
)


@pytest.fixture
def real(tmp_path, monkeypatch):
    """The current folder has 20 real images of two classes in ``real``."""
    monkeypatch.chdir(tmp_path)
    for class_id in (BAG, TROUSER):
        folder = tmp_path / "real" / CLASS_NAMES[class_id]
        folder.mkdir(parents=True)
        for index, image in enumerate(FashionMnistTest().images_of(class_id)[:20]):
            Image.fromarray(as_pixels(image)).save(folder / f"{index:02d}.png")
    return tmp_path / "real"


def refused(printed, code, tmp_path):
    assert code == 2
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    return printed.err


def test_many_unreadable_pictures_are_refused_before_anything_is_written(real, tmp_path, monkeypatch, capsys):
    for index in range(20, 220):
        (real / "bag" / f"{index:03d}.jpg").touch()
    code, printed = run(monkeypatch, capsys, "audit", *ARGUMENTS)
    line = refused(printed, code, tmp_path)
    assert "200 of 220 pictures of class 8 (bag) cannot be read, among them 020.jpg" in line
    assert "pass --maximum-unreadable 1 to leave them out" in line


def test_few_are_said_everywhere(real, tmp_path, monkeypatch, capsys):
    for index in (3, 7):
        (real / "bag" / f"{index:02d}.png").write_bytes(b"damaged")
    (real / "trouser" / "notes.txt").touch()
    code, printed = run(monkeypatch, capsys, "audit", *ARGUMENTS)
    assert code == 0
    warning = "2 real images could not be read and were left out: 2 of bag. Class metrics rest on the others."
    assert f"warning: {warning}\n" in printed.err
    assert "real_images: 1 file without the ending of a picture ignored (.txt 1)\n" in printed.err
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert (summary["warnings"], summary["n_unreadable"]) == ([warning], {"8": 2})
    assert f'<p class="warning" role="alert">{warning}</p>' in (tmp_path / "out/report.html").read_text(
        encoding="utf-8"
    )
    code, printed = run(monkeypatch, capsys, "audit", *ARGUMENTS)
    assert (code, warning in printed.err) == (0, True)  # also of an audit that was there


def test_what_trying_some_missed_is_refused_by_the_shard(real, tmp_path, monkeypatch, capsys):
    for index in (3, 7, 9):
        (real / "bag" / f"{index:02d}.png").write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolder, "has_unreadable", lambda *_: False)
        code, _ = run(monkeypatch, capsys, "audit", *ARGUMENTS)
    assert code == 3
    assert "3 of 20 pictures of class 8 (bag) cannot be read" in (tmp_path / "out/manifest.json").read_text("utf-8")
    code, printed = run(monkeypatch, capsys, "audit", *ARGUMENTS, "--maximum-unreadable", 1)
    assert code == 0, printed.err
    assert "3 real images could not be read" in printed.err
