"""Painted layouts: colours are those of the palette or of the file beside it, and faults are one line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core.errors import InputError
from cawa_core.semantics.layout_files import palette_of, read_layout
from cawa_core.semantics.layouts import ANYTHING

CATEGORIES = ("nothing", "sky", "door")


def save(path, pixels, mode="RGB"):
    Image.fromarray(np.asarray(pixels, np.uint8), mode).save(path)
    return str(path)


def blank(side, channels=3):
    return np.zeros((side, side, channels), np.uint8)


def test_colours_are_those_of_the_palette(tmp_path, tiny_generator):
    palette = palette_of(CATEGORIES)
    assert palette["nothing"] == (255, 255, 255)
    pixels = blank(28)
    pixels[0, :5] = palette["sky"]
    pixels[1, 3] = palette["door"]
    pixels[2, 2] = palette["nothing"]
    expected = torch.full((28, 28), ANYTHING)
    expected[0, :5], expected[1, 3], expected[2, 2] = 1, 2, 0
    assert read_layout(save(tmp_path / "a.png", pixels), tiny_generator, CATEGORIES).equal(expected)


def test_transparent_pixels_may_show_anything(tmp_path, tiny_generator):
    pixels = blank(28, 4)
    pixels[..., :3] = (1, 2, 3)
    pixels[4, 4] = (*palette_of(CATEGORIES)["door"], 255)
    layout = read_layout(save(tmp_path / "a.png", pixels, "RGBA"), tiny_generator, CATEGORIES)
    assert (layout != ANYTHING).nonzero().tolist() == [[4, 4]]
    assert int(layout[4, 4]) == 2


def test_a_file_beside_it_names_the_colours(tmp_path, tiny_generator):
    (tmp_path / "labels.json").write_text(json.dumps({"door": [9, 9, 9]}))
    pixels = blank(28)
    pixels[7] = 9
    layout = read_layout(save(tmp_path / "a.png", pixels), tiny_generator, CATEGORIES)
    assert (layout == 2).sum() == 28
    pixels[8] = palette_of(CATEGORIES)["sky"]
    with pytest.raises(InputError, match=r"labels\.json does not name this colour"):
        read_layout(save(tmp_path / "a.png", pixels), tiny_generator, CATEGORIES)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (blank(27), "must have 28 x 28 pixels, as the images of fashion-biggan; got 27 x 27"),
        (blank(28), "is black or transparent everywhere and asks for nothing"),
        (
            blank(28) + 7,
            r"has 784 pixels of colour \[7, 7, 7\], the first at x = 0, y = 0; the standard palette does not",
        ),
    ],
)
def test_layouts_that_do_not_fit(tmp_path, tiny_generator, pixels, message):
    with pytest.raises(InputError, match=message) as error:
        read_layout(save(tmp_path / "a.png", pixels), tiny_generator, CATEGORIES)
    assert "\n" not in str(error.value)


def test_files_that_are_no_layout(tmp_path, tiny_generator):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_layout(str(tmp_path / "none.png"), tiny_generator, CATEGORIES)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="must be a PNG image"):
        read_layout(str(tmp_path / "text.png"), tiny_generator, CATEGORIES)
    (tmp_path / "labels.json").write_text(json.dumps({"tree": [9, 9, 9]}))
    with pytest.raises(InputError, match="names 'tree', which is not read off the features; the labels are sky, door"):
        read_layout(save(tmp_path / "a.png", blank(28) + 9), tiny_generator, CATEGORIES)
