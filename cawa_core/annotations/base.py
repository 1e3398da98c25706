"""Generated images with a label for each pixel, which exist for these images only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.digests import digest_of_data, digest_of_tensors
from cawa_core.errors import InputError, bounded
from cawa_core.generators.base import Generator
from cawa_core.labels import NOTHING
from cawa_core.segmenters.base import NO_CONCEPT

Colour = tuple[int, int, int]
"""Red, green and blue in 0..255."""

BLACK: Colour = (0, 0, 0)
MOST_CONCEPTS = 255
"""Concepts that fit into the palette of a PNG, beside :data:`NOTHING`."""
LONGEST_NAME = 80
"""Letters of the longest name of a concept."""


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Latents of some images, and which concept each of their pixels shows.

    Attributes:
        z: latents, float32 ``[n, z_dim]``.
        class_ids: classes, int64 ``[n]``.
        labels: label maps, integers ``[n, S, S]`` that index the concepts; ``NO_CONCEPT`` (-1) elsewhere.
        colours: colour of each concept in the files, in the order of the labels; ``nothing`` names that of pixels
            without a concept, which is black if it is left out.
    """

    z: Tensor
    class_ids: Tensor
    labels: Tensor
    colours: Mapping[str, Colour]

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in the order of the labels."""
        return tuple(name for name in self.colours if name != NOTHING)

    @property
    def digest(self) -> str:
        """SHA-256 of latents, classes, label maps and names of the concepts; colours do not enter."""
        tensors = {"z": self.z, "class_ids": self.class_ids, "labels": self.labels.to(torch.int16)}
        return digest_of_data([digest_of_tensors(tensors), *self.concepts])

    def masks(self, images: Sequence[int] | NDArray[np.int64] | slice = slice(None)) -> Tensor:
        """Return where each concept is in some of the images: bool ``[n, concepts, S, S]``."""
        numbers = torch.arange(len(self.concepts), device=self.labels.device)[:, None, None]
        return self.labels[images][:, None] == numbers

    def areas(self) -> NDArray[np.int64]:
        """Count the pixels of each concept in each image: ``[n, concepts]``."""
        counts = [(self.labels == number).sum(dim=(1, 2)) for number in range(len(self.concepts))]
        return torch.stack(counts, dim=1).cpu().numpy()

    def require_fit(self, generator: Generator) -> None:
        """Check that these are annotations of images of a generator.

        Raises:
            InputError: a shape, type or value does not fit.
        """
        require_colours(self.colours)
        require_latents(self.z, self.class_ids, generator)
        side = generator.image_size
        expected = [len(self.z), side, side]
        if self.labels.is_floating_point() or self.labels.dtype == torch.bool or list(self.labels.shape) != expected:
            raise InputError(f"labels must be integers {expected} for {generator.name}; got {_described(self.labels)}")
        lowest, highest = (int(edge) for edge in self.labels.aminmax())
        if not NO_CONCEPT <= lowest <= highest < len(self.concepts):
            raise InputError(
                f"labels must be in {NO_CONCEPT}..{len(self.concepts) - 1}, for {len(self.concepts)} concepts; got "
                f"{lowest if lowest < NO_CONCEPT else highest}"
            )


def require_latents(z: Tensor, class_ids: Tensor, generator: Generator) -> None:
    """Check latents and classes of images of a generator.

    Raises:
        InputError: there are none, or a shape, type or value does not fit.
    """
    if z.dtype != torch.float32 or z.ndim != 2 or z.shape[1] != generator.z_dim or not len(z):
        raise InputError(
            f"z must be float32 [n, {generator.z_dim}] for {generator.name}, with n of at least 1; got {_described(z)}"
        )
    if class_ids.dtype != torch.int64 or list(class_ids.shape) != [len(z)]:
        raise InputError(f"class_ids must be int64 [{len(z)}], one per row of z; got {_described(class_ids)}")
    if not bool(z.isfinite().all()):
        place = int((~z.isfinite().all(dim=1)).nonzero()[0, 0])
        raise InputError(f"z must be finite; row {place} holds a number that is infinite or NaN")
    for class_id in class_ids.unique().tolist():
        generator.require_class(class_id)


def require_colours(colours: Mapping[str, Colour]) -> None:
    """Check the names and colours of concepts.

    Raises:
        InputError: there is no concept, there are too many, a name is empty, long or not printable, or two names have
            one colour.
    """
    names: dict[Colour, str] = {} if NOTHING in colours else {BLACK: NOTHING}
    for name, colour in colours.items():
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise InputError(
                f"names of concepts must be printable, with 1 to {LONGEST_NAME} letters; got {bounded(name)}"
            )
        red_green_blue = tuple(colour)
        if len(red_green_blue) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in red_green_blue):
            raise InputError(f"the colour of {name!r} must be three numbers in 0..255; got {bounded(list(colour))}")
        if red_green_blue in names:
            raise InputError(
                f"colours must be different; {names[red_green_blue]!r} and {name!r} have {list(colour)}; give one of "
                f"them another ({NOTHING!r} is black unless it is named)"
            )
        names[red_green_blue] = name
    n_concepts = len(colours) - (NOTHING in colours)
    if not 1 <= n_concepts <= MOST_CONCEPTS:
        raise InputError(f"there must be 1 to {MOST_CONCEPTS} concepts besides {NOTHING!r}; got {n_concepts}")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
