"""The 60,000 training images of Fashion-MNIST: Debian's package if installed, else torchvision's download."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from cawa_core.real_images.idx import read_idx
from cawa_core.rendering.pixels import as_floats

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DOWNLOAD_FOLDER = Path.home() / ".cache" / "cawa" / "torchvision"


def load_training_images(folder: Path = DEBIAN_FOLDER) -> tuple[Tensor, Tensor]:
    """Load images float32 ``[60000, 1, 28, 28]`` in [-1, 1] and labels int64 ``[60000]``."""
    if (folder / "train-images-idx3-ubyte.gz").exists():
        images = torch.from_numpy(read_idx(folder / "train-images-idx3-ubyte.gz"))
        labels = torch.from_numpy(read_idx(folder / "train-labels-idx1-ubyte.gz"))
    else:
        DOWNLOAD_FOLDER.mkdir(parents=True, exist_ok=True)
        dataset = FashionMNIST(DOWNLOAD_FOLDER, train=True, download=True)
        images, labels = dataset.data, dataset.targets
    return as_floats(images[:, None]), labels.long()
