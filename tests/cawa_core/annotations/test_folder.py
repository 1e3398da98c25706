"""The folder of annotated images: what is written is read again, and what does not fit is refused in one line."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cawa_core.annotations import Annotations, read_annotations, write_annotations
from cawa_core.annotations.base import MOST_CONCEPTS
from cawa_core.errors import InputError

SIDE = 28
COLOURS = {"sleeve": (200, 0, 0), "nothing": (255, 255, 255), "collar": (0, 0, 0)}


@pytest.fixture
def annotations(tiny_generator):
    """Three images of two classes, whose label maps have both concepts and pixels without one."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 2, (3, SIDE, SIDE), generator=random)
    return Annotations(torch.randn(3, tiny_generator.z_dim, generator=random), torch.tensor([4, 4, 9]), labels, COLOURS)


@pytest.fixture
def folder(tmp_path, annotations, tiny_generator):
    write_annotations(tmp_path / "masks", annotations, tiny_generator)
    return tmp_path / "masks"


def test_what_is_written_is_read_again(folder, annotations, tiny_generator):
    (folder / "image-000.png").write_bytes(b"not a label map")
    (folder / "pictures").mkdir()
    (folder / "pictures/000.png").write_bytes(b"not one either")
    again = read_annotations(folder, tiny_generator)
    assert again.concepts == ("sleeve", "collar")
    assert again.digest == annotations.digest
    assert torch.equal(again.z, annotations.z)
    assert torch.equal(again.class_ids, annotations.class_ids)
    assert torch.equal(again.labels.long(), annotations.labels)
    assert torch.equal(again.masks([2, 0])[:, 1], annotations.labels[[2, 0]] == 1)
    assert again.areas().tolist() == again.masks().sum(dim=(2, 3)).tolist()
    with Image.open(folder / "001.png") as image:
        pixels = np.array(image.convert("RGB"))
    assert (pixels[annotations.labels[1].numpy() == 0] == (200, 0, 0)).all()
    assert (pixels[annotations.labels[1].numpy() == -1] == 255).all()


def test_black_is_nothing_unless_it_is_named(tmp_path, annotations, tiny_generator):
    plain = dataclasses.replace(annotations, colours={"sleeve": (1, 2, 3), "collar": (3, 2, 1)})
    write_annotations(tmp_path, plain, tiny_generator)
    with Image.open(tmp_path / "000.png") as image:
        assert (np.array(image.convert("RGB")).sum(axis=2) == 0).sum() == (plain.labels[0] == -1).sum()
    assert read_annotations(tmp_path, tiny_generator).digest == plain.digest


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_label_maps_of_other_programs_are_read(folder, annotations, tiny_generator, mode):
    for file in folder.glob("0*.png"):
        with Image.open(file) as image:
            image.convert(mode).save(file)
    assert read_annotations(folder, tiny_generator).digest == annotations.digest


def test_as_many_concepts_as_a_palette_has_colours(tmp_path, annotations, tiny_generator):
    colours = {f"concept {number}": (number, 1, 0) for number in range(MOST_CONCEPTS)}
    labels = (torch.arange(3 * SIDE**2) % (MOST_CONCEPTS + 1) - 1).reshape(3, SIDE, SIDE)
    many = dataclasses.replace(annotations, labels=labels.to(torch.int16), colours=colours)
    write_annotations(tmp_path, many, tiny_generator)
    assert torch.equal(read_annotations(tmp_path, tiny_generator).labels, many.labels)


def change_latents(folder, metadata=None, **tensors):
    """Write other latents; None leaves a tensor out."""
    content = load_file(folder / "latents.safetensors") | tensors
    kept = {name: tensor for name, tensor in content.items() if tensor is not None}
    (folder / "latents.safetensors").unlink()
    save_file(kept, folder / "latents.safetensors", metadata)


def write_image(file, shape, value=(200, 0, 0)):
    pixels = np.empty((*shape, len(value)), np.uint8)
    pixels[:] = value
    Image.fromarray(pixels).save(file)


def paint_one_pixel(folder):
    with Image.open(folder / "002.png") as image:
        picture = image.convert("RGB")
    picture.putpixel((5, 20), (201, 0, 0))
    picture.save(folder / "002.png")


def remove(folder, name):
    (folder / name).unlink()


def link(folder, name):
    target = folder.parent / f"elsewhere-{name}"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)


def pipe(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)


def labels(folder, text):
    (folder / "labels.json").write_text(text, encoding="utf-8")


def huge(folder):
    """Write a PNG whose header claims more pixels than memory has bytes."""
    write_image(folder / "001.png", (SIDE, SIDE))
    content = bytearray((folder / "001.png").read_bytes())
    content[16:24] = (2**16).to_bytes(4, "big") * 2
    (folder / "001.png").write_bytes(content)


BAD = {
    "no latents": (
        lambda f: remove(f, "latents.safetensors"),
        r"latents\.safetensors does not exist; it holds the lat",
    ),
    "damaged latents": (lambda f: (f / "latents.safetensors").write_bytes(b"\x09" * 40), "is truncated, damaged or no"),
    "empty latents": (lambda f: (f / "latents.safetensors").write_bytes(b""), "is truncated, damaged or not a safe"),
    "linked latents": (lambda f: link(f, "latents.safetensors"), "latents.safetensors is a link to a place outside"),
    "a pipe": (lambda f: pipe(f, "labels.json"), r"labels\.json must be a file, and is a pipe or device"),
    "no classes": (
        lambda f: change_latents(f, class_ids=None),
        "must hold the tensors z and class_ids; it has no clas",
    ),
    "float64": (lambda f: change_latents(f, z=torch.zeros(3, 6).double()), r"z must be float32 \[n, 6\].*got float64"),
    "other z": (lambda f: change_latents(f, z=torch.zeros(3, 7)), r"z must be float32 \[n, 6\] .*got float32 \[3, 7\]"),
    "no z": (lambda f: change_latents(f, z=torch.zeros(0, 6)), "with n of at least 1; got float32"),
    "NaN": (lambda f: change_latents(f, z=torch.tensor([[0.0] * 6] * 2 + [[torch.nan] * 6])), "must be finite; row 2"),
    "class count": (lambda f: change_latents(f, class_ids=torch.tensor([1])), r"class_ids must be int64 \[3\], one"),
    "class type": (lambda f: change_latents(f, class_ids=torch.ones(3)), r"class_ids must be int64 .*got float32"),
    "class range": (lambda f: change_latents(f, class_ids=torch.tensor([0, 10, 0])), "class_id must be in 0..9"),
    "generator": (
        lambda f: change_latents(f, {"generator": "x"}),
        "holds latents of generator 'x'; got fashion-biggan",
    ),
    "weights": (lambda f: change_latents(f, {"digest": "0" * 64}), "with weights 000000000000…; got random"),
    "truncation": (lambda f: change_latents(f, {"truncation": "0.5"}), "holds latents of truncation 0.5; got 1, give"),
    "fewer latents": (
        lambda f: change_latents(f, z=torch.zeros(2, 6), class_ids=torch.zeros(2, dtype=torch.int64)),
        r"a label map for each of the 2 latents of latents\.safetensors, 000\.png to 001\.png; there is 002\.png, too",
    ),
    "no map": (lambda f: remove(f, "001.png"), r"3 latents .*, 000\.png to 002\.png; 001\.png is missing"),
    "other names": (lambda f: (f / "002.png").rename(f / "2.png"), r"002\.png is missing"),
    "linked map": (lambda f: link(f, "001.png"), r"001\.png is a link to a place outside of the folder"),
    "a folder": (lambda f: (remove(f, "001.png"), (f / "001.png").mkdir()), r"001\.png is missing"),
    "no PNG": (lambda f: (f / "001.png").write_bytes(b"GIF89a"), r"001\.png must be a PNG image; it does not decode"),
    "cut short": (
        lambda f: (f / "001.png").write_bytes((f / "001.png").read_bytes()[:-60]),
        r"001\.png must be a PNG image; it does not decode",
    ),
    "size": (lambda f: write_image(f / "001.png", (28, 56)), r"001\.png must have 28 x 28 pixels.*got 56 x 28: paint"),
    "huge": (huge, r"001\.png must (have 28 x 28 pixels|be a PNG image)"),
    "colour": (
        paint_one_pixel,
        r"002\.png has 1 pixel of colour \[201, 0, 0\], the first at x = 5, y = 20; la",
    ),
    "transparent": (lambda f: write_image(f / "001.png", (28, 28), (200, 0, 0, 9)), r"001\.png has transparent pixels"),
    "16 bits": (
        lambda f: Image.fromarray(np.zeros((28, 28), np.uint16)).save(f / "001.png"),
        r"001\.png must have 8 bits per colour",
    ),
    "no labels": (lambda f: remove(f, "labels.json"), r"labels\.json does not exist; it holds the colour of each conc"),
    "no JSON": (lambda f: labels(f, "door"), r"labels\.json must map names of concepts to colours.*JSON"),
    "deep": (lambda f: labels(f, "[" * 100_000), r"labels\.json must map names of concepts to colours"),
    "a list": (lambda f: labels(f, "[1]"), "must map names of concepts to colours"),
    "two numbers": (lambda f: labels(f, '{"sleeve": [1, 2]}'), r"sleeve\.2: field required|sleeve"),
    "a fraction": (lambda f: labels(f, '{"sleeve": [1, 2, 3.5]}'), r"sleeve\.2: .*; got 3\.5"),
    "a large number": (lambda f: labels(f, '{"sleeve": [1, 2, 256]}'), r"sleeve\.2: .*255; got 256"),
    "twice": (lambda f: labels(f, '{"a": [1, 2, 3], "a": [3, 2, 1]}'), "'a' is there twice"),
    "one colour": (lambda f: labels(f, '{"a": [1, 2, 3], "b": [1, 2, 3]}'), r"'a' and 'b' have \[1, 2, 3\]"),
    "black": (lambda f: labels(f, '{"a": [0, 0, 0]}'), "'nothing' and 'a' have .* is black unless it is named"),
    "no name": (lambda f: labels(f, '{"": [1, 2, 3]}'), "must be printable, with 1 to 80 letters; got ''"),
    "a line break": (lambda f: labels(f, '{"a\\nb": [1, 2, 3]}'), "must be printable"),
    "no concepts": (
        lambda f: labels(f, '{"nothing": [1, 2, 3]}'),
        "must be 1 to 255 concepts besides 'nothing'; got 0",
    ),
    "too many": (
        lambda f: labels(f, json.dumps({str(number): [number // 200, number % 200, 1] for number in range(256)})),
        "must be 1 to 255 concepts besides 'nothing'; got 256",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_does_not_fit_is_refused_in_one_line(folder, tiny_generator, fault):
    spoil, message = BAD[fault]
    spoil(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_annotations(folder, tiny_generator)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_what_is_no_folder_is_refused(tmp_path, tiny_generator):
    (tmp_path / "file").write_text("")
    for name, message in (
        ("file", "is a file, and must be a folder"),
        ("nowhere", "latents.safetensors does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            read_annotations(tmp_path / name, tiny_generator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(3, SIDE, SIDE)}, r"labels must be integers \[3, 28, 28\] .*; got float32"),
        ({"labels": torch.zeros(2, SIDE, SIDE).long()}, r"labels must be integers \[3, 28, 28\] .*; got int64 \[2"),
        ({"labels": torch.full((3, SIDE, SIDE), 2)}, "labels must be in -1..1, for 2 concepts; got 2"),
        ({"labels": torch.full((3, SIDE, SIDE), -2)}, "labels must be in -1..1, for 2 concepts; got -2"),
        ({"class_ids": torch.tensor([0, 1, 10])}, "class_id must be in 0..9"),
        (
            {"colours": {"a": (1, 2, 300), "b": (1, 2, 3)}},
            r"the colour of 'a' must be three numbers in 0\.\.255; got \[",
        ),
    ],
)
def test_nothing_is_written_of_what_does_not_fit(tmp_path, annotations, tiny_generator, change, message):
    with pytest.raises(InputError, match=message):
        write_annotations(tmp_path / "masks", dataclasses.replace(annotations, **change), tiny_generator)
    assert not (tmp_path / "masks").exists()


def test_annotations_are_not_written_over(folder, annotations, tiny_generator):
    with pytest.raises(InputError, match=r"000\.png exists; give a folder without annotations"):
        write_annotations(folder, annotations, tiny_generator)
