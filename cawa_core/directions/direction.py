"""A direction of the latent code and the class embedding, and images moved along it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.latents.dimensions import EMBEDDING, LATENT, DimensionUnits


@dataclasses.dataclass(frozen=True)
class Direction:
    """A direction whose components are in standard deviations of each dimension.

    Attributes:
        latent: components of the latent code ``[z_dim]``.
        embedding: components of the class embedding ``[embed_dim]``.
    """

    latent: Tensor
    embedding: Tensor

    @classmethod
    def in_space(cls, space: str, weights: Tensor, generator: Generator) -> Direction:
        """Return a direction with weights in one space ``[dimensions]`` and zero in the other."""
        weights = weights.float()
        if space == LATENT:
            return cls(weights, weights.new_zeros(generator.embed_dim))
        return cls(weights.new_zeros(generator.z_dim), weights)

    @classmethod
    def none(cls, generator: Generator) -> Direction:
        """Return the direction that moves nothing."""
        return cls(*(torch.zeros(size, device=generator.device) for size in (generator.z_dim, generator.embed_dim)))

    @property
    def dimensions(self) -> list[tuple[str, int]]:
        """Space and index of the dimensions that it moves."""
        parts = ((LATENT, self.latent), (EMBEDDING, self.embedding))
        return [(space, int(index)) for space, part in parts for index in part.nonzero()[:, 0]]

    def require_fits(self, generator: Generator) -> None:
        """Check that the direction has the sizes of a generator.

        Raises:
            InputError: it has others.
        """
        sizes = len(self.latent), len(self.embedding)
        expected = generator.z_dim, generator.embed_dim
        if sizes != expected:
            raise InputError(
                f"direction must have {expected[0]} latent and {expected[1]} embedding components for "
                f"{generator.name}; got {sizes[0]} and {sizes[1]}"
            )

    def moved_latents(self, strength: float, z: Tensor, units: DimensionUnits) -> Tensor:
        """Return latents ``[n, z_dim]`` after a step, whose length is the strength times the norm of the direction."""
        return z + strength * units.latent_deviation * self.latent.to(z)

    def moved_embedding(self, strength: float, embedding: Tensor, units: DimensionUnits) -> Tensor:
        """Return class embeddings ``[n, embed_dim]`` after a step."""
        return embedding + strength * units.embedding_deviation.to(embedding) * self.embedding.to(embedding)


def unit(weights: Tensor) -> Tensor:
    """Scale weights ``[..., dimensions]`` to norm 1; zero stays zero."""
    norms = weights.norm(dim=-1, keepdim=True)
    return torch.where(norms > 0, weights / norms.clamp(min=torch.finfo(weights.dtype).tiny), 0)
