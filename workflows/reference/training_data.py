"""Training images: the 60,000 of Fashion-MNIST, and as many of the world ``scenes`` as wanted."""

from __future__ import annotations

import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.real_images.idx import read_idx
from cawa_core.worlds.scenes.renderer import render
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DOWNLOAD_FOLDER = Path.home() / ".cache" / "cawa" / "torchvision"


SCENES_SEED = 1
"""Seed of the training pictures of ``scenes``; the set of real images has seed 0, so no picture is in both."""
PICTURES_PER_TASK = 1500


def load_fashion_images(folder: Path = DEBIAN_FOLDER) -> tuple[Tensor, Tensor]:
    """Load images uint8 ``[60000, 1, 28, 28]`` and labels int64 ``[60000]``.

    They come from Debian's package if it is installed, else from torchvision's download.
    """
    if (folder / "train-images-idx3-ubyte.gz").exists():
        images = torch.from_numpy(read_idx(folder / "train-images-idx3-ubyte.gz"))
        labels = torch.from_numpy(read_idx(folder / "train-labels-idx1-ubyte.gz"))
    else:
        from torchvision.datasets import FashionMNIST

        DOWNLOAD_FOLDER.mkdir(parents=True, exist_ok=True)
        dataset = FashionMNIST(DOWNLOAD_FOLDER, train=True, download=True)
        images, labels = dataset.data, dataset.targets
    return images[:, None], labels.long()


@dataclasses.dataclass(frozen=True)
class ScenesData:
    """Pictures of the world ``scenes``.

    Attributes:
        images: uint8 ``[n, 3, 32, 32]``.
        classes: class of each picture, int64 ``[n]``.
        labels: label of each pixel, uint8 ``[n, 32, 32]``.
    """

    images: Tensor
    classes: Tensor
    labels: Tensor


def render_scenes(n_pictures: int, seed: int, processes: int = 1, first: int = 0) -> ScenesData:
    """Render pictures of all classes in turn: picture i is number ``first + i // 30`` of class ``i % 30``.

    Args:
        n_pictures: number of pictures.
        seed: seed of the world.
        processes: processes that share the work.
        first: number of the first picture within each class.
    """
    n_classes = len(CLASS_NAMES)
    tasks = [
        (range(start, min(start + PICTURES_PER_TASK, n_pictures)), seed, first)
        for start in range(0, n_pictures, PICTURES_PER_TASK)
    ]
    if processes == 1:
        parts = [_render(*task) for task in tasks]
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(_render, *zip(*tasks, strict=True)))
    images = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    classes = torch.arange(n_pictures) % n_classes
    return ScenesData(torch.from_numpy(images), classes, torch.from_numpy(labels))


def _render(numbers: range, seed: int, first: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    n_classes = len(CLASS_NAMES)
    scenes = render([i % n_classes for i in numbers], [first + i // n_classes for i in numbers], seed=seed)
    return np.ascontiguousarray(scenes.images.transpose(0, 3, 1, 2)), scenes.labels
