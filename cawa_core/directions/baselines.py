"""Unsupervised directions: SeFa (Shen and Zhou 2021) and GANSpace (Härkönen et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cawa_core.directions.direction import unit
from cawa_core.generators.base import Generator
from cawa_core.latents.dimensions import LATENT, DimensionUnits


def sefa_directions(generator: Generator, space: str, units: DimensionUnits, count: int) -> Tensor:
    """Return the directions that change the modulation of all sites most, by closed form (SeFa, eq. 5).

    They are the leading eigenvectors of AᵀA, where the rows of A are the weights of each gain and offset, scaled to
    norm 1 as the authors' code does. Channels that reach no image are left out.

    Args:
        generator: generator whose modulation is affine at every site.
        space: latent or embedding.
        units: standard deviations of dimensions, in which directions are.
        count: number of directions.

    Returns:
        Directions ``[count, dimensions]`` of norm 1, the strongest first.
    """
    gram: Tensor | None = None
    for site in generator.sites:
        modulation = generator.modulation(site.index)
        for part in (modulation.gain, modulation.offset):
            rows = (part.from_latent if space == LATENT else part.from_class).double().cpu()
            if space != LATENT:
                rows = rows * units.embedding_deviation.double().cpu()
            norms = rows.norm(dim=1, keepdim=True)
            used = norms[:, 0] > 0
            used[list(site.inert_channels)] = False
            rows = rows[used] / norms[used]
            gram = rows.T @ rows if gram is None else gram + rows.T @ rows
    assert gram is not None
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(1).T[:count]
    return _oriented(vectors)


def ganspace_directions(features: Iterable[Tensor], z: Tensor, count: int) -> Tensor:
    """Return the latent directions of the principal components of features at a site (GANSpace, section 2.3).

    Components are those of the features of random latents, less the mean of their class. Each is carried back to the
    latent code by least squares: the direction that predicts the latents from the coordinates.

    Args:
        features: features ``[n, C, H, W]`` of each class.
        z: latents of all of them in the same order, in standard deviations ``[n, z_dim]``.
        count: number of directions, fewer than latents.

    Returns:
        Directions ``[count, z_dim]`` of norm 1, the component of largest variance first.
    """
    centred = torch.cat([(part - part.mean(dim=0)).flatten(1).cpu() for part in features]).double()
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    coordinates = vectors.flip(1)[:, :count] * values.flip(0)[:count].clamp(min=0).sqrt()
    directions = torch.linalg.lstsq(coordinates, z.double().cpu()).solution
    return _oriented(unit(directions))


def _oriented(directions: Tensor) -> Tensor:
    """Give directions ``[count, D]`` a sign of their own: the largest component is positive."""
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).float()
