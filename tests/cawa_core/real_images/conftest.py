"""A small folder of class folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cawa_core.real_images.folder import ImageFolder

NAMES = ("tench", "goldfish", "great white shark")
WORDNET_IDS = ("n01440764", "n01443537", "n01484850")


def picture(seed: int = 0, size: tuple[int, int] = (30, 20)) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def folder_of(path: Path, channels: int = 3, side: int = 8) -> ImageFolder:
    return ImageFolder(path, side, channels, NAMES, WORDNET_IDS)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Three pictures of class 0, two of class 2, none of class 1."""
    root = tmp_path / "real"
    for class_id, files in ((0, ("b.JPEG", "a.jpg", "Z.png")), (2, ("x.WebP", "y.bmp"))):
        (root / WORDNET_IDS[class_id]).mkdir(parents=True)
        for seed, file in enumerate(files):
            picture(seed + 10 * class_id).save(root / WORDNET_IDS[class_id] / file)
    return root
