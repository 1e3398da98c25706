"""Folders of BigDatasetGAN: latents and masks in pairs, and faults in one line."""

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core.annotations import read_annotations
from cawa_core.errors import InputError


def save_pair(folder, synset, stem, z, mask):
    for kind in ("latents", "annotations"):
        (folder / kind / "biggan512" / synset).mkdir(parents=True, exist_ok=True)
    np.save(folder / "latents/biggan512" / synset / f"{stem}.npy", z)
    Image.fromarray(mask).save(folder / "annotations/biggan512" / synset / f"{stem}.png")


@pytest.fixture
def folder(tmp_path, tiny_generator):
    """Two classes, the second with two images."""
    random = np.random.default_rng(0)
    for synset, stem in (("n01", "n01_3_0"), ("n02", "n02_7_0"), ("n02", "n02_7_1")):
        mask = (random.random((28, 28)) > 0.5).astype(np.uint8) * 3
        save_pair(tmp_path, synset, stem, random.normal(size=(1, tiny_generator.z_dim)), mask)
    (tmp_path / "annotations/real-random-list.txt").write_text("not of generated images")
    return tmp_path


def test_latents_classes_and_masks_are_those_of_the_files(folder, tiny_generator):
    annotations = read_annotations(folder, tiny_generator)
    assert annotations.concepts == ("object",)
    assert annotations.class_ids.tolist() == [3, 7, 7]
    for place, name in enumerate(("n01/n01_3_0", "n02/n02_7_0", "n02/n02_7_1")):
        z = np.load(folder / f"latents/biggan512/{name}.npy")[0].astype(np.float32)
        assert annotations.z[place].equal(torch.from_numpy(z))
        mask = np.array(Image.open(folder / f"annotations/biggan512/{name}.png")) != 0
        assert (annotations.labels[place].numpy() == np.where(mask, 0, -1)).all()


def remove_a_mask(folder):
    (folder / "annotations/biggan512/n02/n02_7_1.png").unlink()


def rename_a_mask(folder):
    masks = folder / "annotations/biggan512/n02"
    (masks / "n02_7_1.png").rename(masks / "n02_8_1.png")


def unnamed(folder):
    for kind, ending in (("latents", "npy"), ("annotations", "png")):
        place = folder / kind / "biggan512/n01"
        (place / f"n01_3_0.{ending}").rename(place / f"first.{ending}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_a_mask, "biggan512/n02 has 2 latents and 1 mask"),
        (rename_a_mask, "is of another class than"),
        (unnamed, "must be named NAME_CLASS_NUMBER"),
        (
            lambda folder: np.save(folder / "latents/biggan512/n01/n01_3_0.npy", np.zeros((1, 5))),
            r"\[1, 6\]; got \(1, 5\)",
        ),
        (lambda folder: (folder / "latents/biggan512/n01/n01_3_0.npy").write_bytes(b"x"), "not an array of NumPy"),
        (
            lambda folder: np.save(folder / "latents/biggan512/n01/n01_3_0.npy", np.array([{}]), allow_pickle=True),
            "not an array of NumPy",
        ),
        (
            lambda folder: Image.new("L", (27, 28)).save(folder / "annotations/biggan512/n01/n01_3_0.png"),
            "must have 28 x 28 pixels",
        ),
        (
            lambda folder: np.save(folder / "latents/biggan512/n01/n01_3_0.npy", np.full((1, 6), np.nan)),
            "z must be finite",
        ),
    ],
)
def test_folders_that_do_not_fit(folder, tiny_generator, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        read_annotations(folder, tiny_generator)
    assert "\n" not in str(error.value)
