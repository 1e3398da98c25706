"""Annotations in the folders of BigDatasetGAN (Li et al., CVPR 2022), which paint the object in images of BigGAN-512.

- ``latents/MODEL/WORDNET_ID/NAME_CLASS_NUMBER.npy``: latent code ``[1, z_dim]`` of an image of the class ``CLASS``.
- ``annotations/MODEL/WORDNET_ID/NAME_CLASS_NUMBER.png``: its mask, where pixels that are not black show the object.

Files of a class are paired in the order of their names, as the authors do. Nothing of the dataset comes with cawa.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from cawa_core.annotations.base import Annotations
from cawa_core.annotations.painted import Painted
from cawa_core.errors import InputError, counted, first_line
from cawa_core.generators.base import Generator
from cawa_core.segmenters.base import NO_CONCEPT
from cawa_core.storage import Storage

OBJECT = "object"
"""Name of the one concept."""
LATENT = re.compile(r"latents/[^/]+/[^/]+/[^/]+\.npy")
MASK = re.compile(r"annotations/[^/]+/[^/]+/[^/]+\.png")
COLOURS = {OBJECT: (255, 255, 255)}


def is_bigdatasetgan(storage: Storage) -> bool:
    """Return whether a folder has latents in the place where BigDatasetGAN keeps them."""
    return any(LATENT.fullmatch(name) for name in storage.names("latents"))


def read_bigdatasetgan(storage: Storage, generator: Generator) -> Annotations:
    """Read all annotations of the generated images.

    Raises:
        InputError: a file is missing, damaged, or does not fit the generator; one line.
    """
    pairs = _paired(storage)
    z = np.concatenate([_latent(storage, latent, generator) for latent, _ in pairs])
    class_ids = [_class_of(storage, latent) for latent, _ in pairs]
    for (latent, mask), class_id in zip(pairs, class_ids, strict=True):
        if _class_of(storage, mask) != class_id:
            raise InputError(
                f"{storage.path(mask)} is of another class than {storage.path(latent)}, which has the same place among "
                "the files of its folder; masks and latents go in pairs"
            )
    labels = np.stack([_label_map(storage, mask, generator) for _, mask in pairs])
    annotations = Annotations(torch.from_numpy(z), torch.tensor(class_ids), torch.from_numpy(labels), COLOURS)
    annotations.require_fit(generator)
    device = generator.device
    return Annotations(
        annotations.z.to(device), annotations.class_ids.to(device), annotations.labels.to(device), COLOURS
    )


def _paired(storage: Storage) -> list[tuple[str, str]]:
    """Return the names of latents and of their masks."""
    latents = _by_class([name for name in storage.names("latents") if LATENT.fullmatch(name)])
    masks = _by_class([name for name in storage.names("annotations") if MASK.fullmatch(name)])
    pairs: list[tuple[str, str]] = []
    for place in sorted({*latents, *masks}):
        counts = counted(len(latents[place]), "latent"), counted(len(masks[place]), "mask")
        if len(latents[place]) != len(masks[place]):
            raise InputError(
                f"{storage.url} must have a mask for each latent code; {place} has {counts[0]} and {counts[1]}"
            )
        pairs += zip(sorted(latents[place]), sorted(masks[place]), strict=True)
    return pairs


def _by_class(names: list[str]) -> defaultdict[str, list[str]]:
    """Group names by model and WordNet id, the folders that they are in."""
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        grouped["/".join(PurePosixPath(name).parts[1:3])].append(name)
    return grouped


def _class_of(storage: Storage, name: str) -> int:
    """Return the class in the name of a file."""
    parts = PurePosixPath(name).stem.split("_")
    if len(parts) < 2 or not parts[-2].isdecimal():
        raise InputError(f"{storage.path(name)} must be named NAME_CLASS_NUMBER, with the index of the class")
    return int(parts[-2])


def _latent(storage: Storage, name: str, generator: Generator) -> NDArray[np.float32]:
    """Read a latent code ``[1, z_dim]``; no object in the file is run."""
    path = storage.path(name)
    try:
        values = np.load(io.BytesIO(storage.read(name)), allow_pickle=False)
    except Exception as error:  # the reader of the format can raise anything when given arbitrary bytes
        raise InputError(f"{path} is truncated, damaged or not an array of NumPy ({first_line(error)})") from None
    expected = (1, generator.z_dim)
    if not isinstance(values, np.ndarray) or values.shape != expected or values.dtype.kind != "f":
        shape = getattr(values, "shape", "several arrays")
        raise InputError(f"{path} must hold a latent code of {generator.name}, {list(expected)}; got {shape}")
    return values.astype(np.float32)


def _label_map(storage: Storage, name: str, generator: Generator) -> NDArray[np.int16]:
    """Read a mask: 0 where it is not black, and nothing elsewhere ``[S, S]``."""
    painted = Painted.of(storage.path(name), storage.read(name), generator)
    return np.where(painted.pixels.any(axis=2), 0, NO_CONCEPT).astype(np.int16)
