"""Directions as small JSON files, which name the generator that they belong to."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch

from cawa_core.directions.direction import Direction
from cawa_core.errors import InputError, bounded, first_line
from cawa_core.generators.base import Generator
from cawa_core.latents.dimensions import EMBEDDING, SPACES

FORMAT = "cawa direction 1"
"""Value of the entry ``format``."""


@dataclasses.dataclass(frozen=True)
class DirectionFile:
    """A direction, and how it was found.

    Attributes:
        direction: the direction.
        name: what it changes, in words.
        method: how it was found.
        generator: name of the generator.
        generator_digest: SHA-256 of the generator's weights.
    """

    direction: Direction
    name: str
    method: str
    generator: str
    generator_digest: str

    @classmethod
    def of(cls, direction: Direction, name: str, method: str, generator: Generator) -> DirectionFile:
        """Describe a direction of a generator."""
        return cls(direction, name, method, generator.name, generator.digest)

    def content(self) -> bytes:
        """Return the content of the file; zero components are left out."""
        parts = (self.direction.latent, self.direction.embedding)
        weights = {
            space: {str(int(index)): round(float(part[index]), 9) for index in part.nonzero()[:, 0]}
            for space, part in zip(SPACES, parts, strict=True)
        }
        described = {
            "format": FORMAT,
            "name": self.name,
            "method": self.method,
            "generator": self.generator,
            "generator_digest": self.generator_digest,
            "unit": "standard deviations of each dimension, per unit of strength",
            **weights,
        }
        return json.dumps(described, indent=1).encode()


def read_direction(path: str, content: bytes, generator: Generator) -> DirectionFile:
    """Read a direction of a generator.

    Args:
        path: name of the file, for errors.
        content: its content.
        generator: generator that it must belong to.

    Raises:
        InputError: the file is damaged, is no direction, has a dimension that the generator does not have, or is that
            of another generator; one line.
    """
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"direction {path} is not JSON ({first_line(error)}); `cawa latents` writes directions"
        ) from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise InputError(f"direction {path} is not a direction file; `cawa latents` writes them")
    name, digest = described.get("generator"), described.get("generator_digest")
    if digest != generator.digest:
        other = f"{bounded(str(name), quoted=False)} with weights {bounded(str(digest)[:12], quoted=False)}…"
        raise InputError(
            f"direction {path} belongs to {other}; got {generator.name} with weights {generator.digest[:12]}…: give "
            "the generator that it was found for"
        )
    sizes = dict(zip(SPACES, (generator.z_dim, generator.embed_dim), strict=True))
    parts = {space: _weights(path, space, described.get(space), size) for space, size in sizes.items()}
    if not any(bool(part.any()) for part in parts.values()):
        raise InputError(f"direction {path} is empty: no dimension has a weight; give another")
    if bool(parts[EMBEDDING].any()) and not generator.takes_embeddings:
        raise InputError(f"direction {path} moves the class embedding; {generator.name} takes class indices")
    direction = Direction(*(part.to(generator.device) for part in parts.values()))
    return DirectionFile(direction, str(described.get("name", "")), str(described.get("method", "")), str(name), digest)


def _weights(path: str, space: str, entries: Any, size: int) -> torch.Tensor:  # noqa: ANN401
    """Return the weights of a space from a file ``[size]``."""
    if not isinstance(entries, dict):
        raise InputError(
            f"direction {path} is damaged: {space} must list weights by dimension; run `cawa latents` again"
        )
    weights = torch.zeros(size)
    for index, value in entries.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
        if not (index.isdecimal() and len(index) < 9 and is_number):
            raise InputError(
                f"direction {path} is damaged: {space} must have numbers by dimension; got {bounded(index)}: run "
                "`cawa latents` again"
            )
        if int(index) >= size:
            raise InputError(
                f"direction {path}: {space} dimensions must be in 0..{size - 1} for this generator; got {int(index)}"
            )
        weights[int(index)] = float(value)
    return weights
