"""The folder of annotated images: latents, names of colours, and one PNG label map per image.

- ``latents.safetensors``: ``z``, float32 ``[n, z_dim]``, and ``class_ids``, int64 ``[n]``; its metadata may name the
  generator by ``generator``, ``digest`` and ``truncation``.
- ``labels.json``: names of concepts => colours, ``{"door": [96, 54, 22]}``; ``nothing`` is black unless it is named.
- ``000.png``, ``001.png``, …: label map of each image, of the image's size.

The folder may come from anyone: files are read through :mod:`cawa_core.storage`, which follows no link out of it, and
an image is decoded only if its size is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from safetensors.torch import load, save
from torch import Tensor

from cawa_core.annotations.base import BLACK, Annotations, Colour, require_colours, require_latents
from cawa_core.annotations.bigdatasetgan import is_bigdatasetgan, read_bigdatasetgan
from cawa_core.annotations.painted import Painted, code_of
from cawa_core.errors import InputError, bounded, first_line
from cawa_core.generators.base import Generator
from cawa_core.labels import NOTHING
from cawa_core.rendering.grids import png_of
from cawa_core.segmenters.base import NO_CONCEPT
from cawa_core.storage import Folder, OutsideFolderError, Storage, StorageError, open_storage
from cawa_core.tables.documents import parsed

LATENTS = "latents.safetensors"
LABELS = "labels.json"
LABEL_MAP = re.compile(r"\d+\.png", re.ASCII | re.IGNORECASE)
"""Names that are those of label maps; all other files in the folder are ignored."""
PAGE = "docs/concepts.md describes the folder"

Byte = Annotated[int, Field(ge=0, le=255)]


def label_map_name(place: int) -> str:
    """Return the name of the label map of an image."""
    return f"{place:03d}.png"


def write_annotations(folder: Folder, annotations: Annotations, generator: Generator) -> None:
    """Write annotations of images of a generator to a folder that holds none yet.

    Raises:
        InputError: the annotations do not fit the generator, or the folder holds annotations, which may be somebody's
            work.
        StorageError: the folder cannot be written.
    """
    annotations.require_fit(generator)
    storage = open_storage(folder)
    written = sorted(name for name in storage.names() if name in (LATENTS, LABELS) or LABEL_MAP.fullmatch(name))
    if written:
        raise InputError(f"{storage.path(written[0])} exists; give a folder without annotations, or remove them")
    storage.write(LABELS, colours_content(annotations.colours))
    for place, label_map in enumerate(annotations.labels.cpu().numpy()):
        storage.write(label_map_name(place), _to_png(label_map, annotations.colours))
    storage.write(LATENTS, latents_content(annotations.z, annotations.class_ids, generator))


def latents_content(z: Tensor, class_ids: Tensor, generator: Generator) -> bytes:
    """Return the file of latents ``[n, z_dim]`` and classes ``[n]`` of images of a generator."""
    metadata = {
        "generator": generator.name,
        "digest": generator.digest,
        "truncation": repr(float(generator.truncation)),
    }
    tensors = {"z": z, "class_ids": class_ids}
    return save({name: each.detach().to("cpu", copy=True).contiguous() for name, each in tensors.items()}, metadata)


def read_annotations(folder: Folder, generator: Generator) -> Annotations:
    """Read the annotations of images of a generator, on its device; the folders of BigDatasetGAN are read, too.

    Raises:
        InputError: a file is missing, unreadable or does not fit the generator or the other files; one line.
    """
    storage = open_storage(folder)
    if is_bigdatasetgan(storage):
        return read_bigdatasetgan(storage, generator)
    z, class_ids = read_latents(storage, generator)
    colours = parsed_colours(storage.path(LABELS), _read(storage, LABELS, "the colour of each concept"))
    _require_label_maps(storage, len(z))
    label_of = {code_of(colour): label for label, colour in enumerate(_colours_by_label(colours), NO_CONCEPT)}
    maps = [_read_label_map(storage, label_map_name(place), generator, label_of) for place in range(len(z))]
    device = generator.device
    annotations = Annotations(z.to(device), class_ids.to(device), torch.from_numpy(np.stack(maps)).to(device), colours)
    annotations.require_fit(generator)
    return annotations


def _read(storage: Storage, name: str, content: str) -> bytes:
    """Read a file; ``content`` says in an error what it would hold."""
    path = storage.path(name)
    try:
        return storage.read(name)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it holds {content}, {PAGE}") from None
    except OutsideFolderError:
        raise InputError(f"{path} is a link to a place outside of the folder; copy the file itself there") from None
    except StorageError as error:
        raise InputError(f"{error}; {path} must hold {content}") from None


def read_latents(folder: Folder, generator: Generator) -> tuple[Tensor, Tensor]:
    """Read latents ``[n, z_dim]`` and classes ``[n]`` of annotated images, and check that they are the generator's.

    Raises:
        InputError: the file is missing, damaged, or that of another generator; one line.
    """
    storage = open_storage(folder)
    path = storage.path(LATENTS)
    content = _read(storage, LATENTS, "the latents of the annotated images")
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except Exception as error:  # the reader of the format can raise anything when given arbitrary bytes
        raise InputError(f"{path} is truncated, damaged or not a safetensors file ({first_line(error)})") from None
    missing = [name for name in ("z", "class_ids") if name not in tensors]
    if missing:
        raise InputError(f"{path} must hold the tensors z and class_ids; it has no {missing[0]}, {PAGE}")
    _require_generator(path, header.get("__metadata__") or {}, generator)
    try:
        require_latents(tensors["z"], tensors["class_ids"], generator)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return tensors["z"], tensors["class_ids"]


def _require_generator(path: str, metadata: Mapping[str, str], generator: Generator) -> None:
    """Check what the metadata of latents record of their generator; what is not recorded is not checked."""
    name = metadata.get("generator", generator.name)
    if name != generator.name:
        raise InputError(
            f"{path} holds latents of generator {bounded(name)}; got {generator.name}, give --generator as for the "
            "annotated images"
        )
    digest = metadata.get("digest", generator.digest)
    if digest != generator.digest:
        raise InputError(
            f"{path} holds latents of {generator.name} with weights {bounded(digest[:12], quoted=False)}…; got "
            f"{generator.digest[:12]}…, give --weights as for the annotated images"
        )
    truncation = metadata.get("truncation", repr(float(generator.truncation)))
    if truncation != repr(float(generator.truncation)):
        raise InputError(
            f"{path} holds latents of truncation {bounded(truncation, quoted=False)}; got {generator.truncation:g}, "
            "give --truncation as for the annotated images"
        )


def colours_content(colours: Mapping[str, Colour]) -> bytes:
    """Return the file of the names of colours."""
    listed = {name: list(colour) for name, colour in colours.items()}
    return json.dumps(listed, indent=1, ensure_ascii=False).encode()


def parsed_colours(path: str, content: bytes) -> dict[str, Colour]:
    """Parse the names of the colours, the content of ``labels.json``.

    Raises:
        InputError: they are not names and colours, or not different ones; one line.
    """
    try:
        colours = parsed(dict[str, tuple[Byte, Byte, Byte]], content)
        json.loads(content, object_pairs_hook=_require_different_names)
        require_colours(colours)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f'{path} must map names of concepts to colours, such as {{"door": [96, 54, 22]}}; {first_line(error)}'
        ) from None
    return colours


def _require_different_names(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"{bounded(repeated[0])} is there twice")


def _require_label_maps(storage: Storage, count: int) -> None:
    """Check that the label maps in the folder are those of the latents."""
    try:
        present = {name for name in storage.names() if LABEL_MAP.fullmatch(name)}
    except StorageError as error:
        raise InputError(f"{error}; the folder must hold one label map per latent") from None
    expected = [label_map_name(place) for place in range(count)]
    allowed = expected[0] if count == 1 else f"{expected[0]} to {expected[-1]}"
    faults = [f"{name} is missing" for name in expected if name not in present]
    faults += [f"there is {name}, too" for name in sorted(present - set(expected))]
    if faults:
        raise InputError(
            f"folder {storage.url} must hold a label map for each of the {count} latents of {LATENTS}, {allowed}; "
            f"{faults[0]}"
        )


def _read_label_map(
    storage: Storage, name: str, generator: Generator, label_of: Mapping[int, int]
) -> NDArray[np.int16]:
    """Read the label of each pixel ``[S, S]``."""
    path = storage.path(name)
    painted = Painted.of(path, _read(storage, name, "a label map"), generator)
    if not painted.opaque.all():
        raise InputError(f"{path} has transparent pixels, whose label is unknown; save it without transparency")
    return painted.labels(label_of, f"{LABELS} does not name this colour: name it there, or paint without soft edges")


def _colours_by_label(colours: Mapping[str, Colour]) -> list[Colour]:
    """Return the colour of nothing, then those of the concepts in the order of the labels."""
    return [colours.get(NOTHING, BLACK), *(colour for name, colour in colours.items() if name != NOTHING)]


def _to_png(label_map: NDArray[np.integer], colours: Mapping[str, Colour]) -> bytes:
    """Encode labels ``[S, S]`` as PNG with a palette; index 0 is nothing."""
    picture = Image.new("P", label_map.shape[::-1])
    picture.putdata((label_map.astype(np.int64) - NO_CONCEPT).ravel().tolist())
    picture.putpalette([part for colour in _colours_by_label(colours) for part in colour])
    return png_of(picture)
