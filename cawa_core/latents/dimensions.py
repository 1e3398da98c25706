"""Interventions on single dimensions of the latent code and of the class embedding (Li et al. 2020).

A dimension is set to each value of a grid while all others stay. Values are in standard deviations of the dimension:
over latents for the latent code, and over all classes of the generator for the class embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import Generator
from cawa_core.interventions import START, Conditioning, run_with_features
from cawa_core.latents.concepts import ConceptScores

LATENT, EMBEDDING = SPACES = ("latent", "embedding")

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class DimensionUnits:
    """Means and standard deviations of dimensions, by which interventions are measured.

    Attributes:
        latent_deviation: standard deviation of a latent coordinate, whose mean is 0.
        embedding_mean, embedding_deviation: moments of the class embedding over all classes ``[embed_dim]``.
    """

    latent_deviation: float
    embedding_mean: Tensor
    embedding_deviation: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Generator) -> DimensionUnits:
        """Return the units of a generator."""
        classes = torch.arange(generator.n_classes, device=generator.device)
        embeddings = generator.class_embedding(classes).double()
        deviation = embeddings.std(dim=0, correction=0)
        return cls(generator.latent_deviation, embeddings.mean(dim=0).float(), deviation.float())


@dataclasses.dataclass(frozen=True)
class Responses:
    """Responses of a class to interventions on D dimensions over a grid of G values.

    Attributes:
        scores: score of each image by each concept, ``[n, D, G, concepts]``.
        changes: mean absolute difference of a pixel between the ends of the grid, as a share of the range from black
            to white, per unit of the grid, ``[n, D]``.
        activations: at each site, slope of the mean features of each channel, per unit of the grid, ``[D, C]``.
    """

    scores: Array
    changes: Array
    activations: tuple[Array, ...]


def grid_slopes(grid: Sequence[float]) -> Array:
    """Return the weights of values on a grid whose sum is their least-squares slope: ``[G]``."""
    centred = np.asarray(grid, dtype=np.float64) - np.mean(grid)
    return np.asarray(centred / np.square(centred).sum())


@torch.inference_mode()
def responses(
    generator: Generator,
    concepts: ConceptScores,
    z: Tensor,
    class_id: int,
    dimensions: Sequence[tuple[str, int]],
    grid: Sequence[float],
    *,
    sites: Sequence[int] = (),
    batch_size: int = 64,
) -> Responses:
    """Measure what single dimensions do to the images of a class.

    Args:
        generator: generator of the images.
        concepts: scores of the images.
        z: latents ``[n, z_dim]``.
        class_id: class of the images.
        dimensions: space and index of each dimension.
        grid: values that a dimension is set to, ascending, in standard deviations.
        sites: sites whose mean features are measured.
        batch_size: images per forward pass.
    """
    slopes = grid_slopes(grid)
    units = DimensionUnits.of(generator)
    n_values = len(grid)
    cases = [(place, row) for place in range(len(dimensions)) for row in range(len(z))]
    scores = np.empty((len(z), len(dimensions), n_values, len(concepts.concepts)))
    changes = np.empty((len(z), len(dimensions)))
    activations = tuple(np.zeros((len(dimensions), generator.sites[site].channels)) for site in sites)
    step = max(1, batch_size // n_values)
    for first in range(0, len(cases), step):
        block = cases[first : first + step]
        codes, embeddings = _conditions(generator, units, z, class_id, [(dimensions[d], row) for d, row in block], grid)
        means, images, scored = _images(generator, concepts, codes, embeddings, class_id, sites, batch_size)
        by_case = images.unflatten(0, (len(block), n_values))
        moved = ((by_case[:, -1] - by_case[:, 0]).abs().mean(dim=(1, 2, 3)) / (2 * (grid[-1] - grid[0]))).cpu().numpy()
        for number, (place, row) in enumerate(block):
            values = slice(number * n_values, (number + 1) * n_values)
            scores[row, place] = scored[values]
            changes[row, place] = moved[number]
            for activation, mean in zip(activations, means, strict=True):
                activation[place] += slopes @ mean[values] / len(z)
    return Responses(scores, changes, activations)


def _conditions(
    generator: Generator,
    units: DimensionUnits,
    z: Tensor,
    class_id: int,
    cases: Sequence[tuple[tuple[str, int], int]],
    grid: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Return latents and embeddings of cases, each over the whole grid: ``[cases · G, ...]``."""
    rows = torch.tensor([row for _, row in cases], device=z.device).repeat_interleave(len(grid))
    codes = z[rows].clone()
    embedding = generator.class_embedding(torch.tensor([class_id], device=z.device))
    embeddings = embedding.expand(len(codes), -1).clone()
    values = torch.tensor(grid, device=z.device).repeat(len(cases))
    for space, target in ((LATENT, codes), (EMBEDDING, embeddings)):
        selected = [number for number, ((name, _), _) in enumerate(cases) if name == space]
        if selected:
            indices = torch.tensor([cases[number][0][1] for number in selected], device=z.device)
            indices = indices.repeat_interleave(len(grid))
            first = torch.tensor(selected, device=z.device)[:, None] * len(grid)
            places = (first + torch.arange(len(grid), device=z.device)).flatten()
            if space == LATENT:
                target[places, indices] = (values[places] * units.latent_deviation).to(target)
            else:
                moved = units.embedding_mean[indices] + values[places] * units.embedding_deviation[indices]
                target[places, indices] = moved.to(target)
    return codes, embeddings


def _images(
    generator: Generator,
    concepts: ConceptScores,
    codes: Tensor,
    embeddings: Tensor,
    class_id: int,
    sites: Sequence[int],
    batch_size: int,
) -> tuple[list[Array], Tensor, Array]:
    """Return mean features at each site ``[n, C]``, images, and their scores ``[n, concepts]``."""
    means: list[list[Tensor]] = [[] for _ in sites]
    images, scores = [], []
    for rows, conditions in _batches(codes, embeddings, batch_size):
        ids = torch.full((len(rows),), class_id, device=rows.device)
        features, batch = run_with_features(generator, rows, ids, sites, [conditions])
        for mean, values in zip(means, features, strict=True):
            mean.append(values.float().mean(dim=(2, 3)).double().cpu())
        images.append(batch)
        scores.append(concepts.scores(batch, ids).double().cpu())
    return [torch.cat(mean).numpy() for mean in means], torch.cat(images), torch.cat(scores).numpy()


def _batches(codes: Tensor, embeddings: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Conditioning]]:
    for rows, conditions in zip(codes.split(batch_size), embeddings.split(batch_size), strict=True):
        yield rows, Conditioning(START, embedding=conditions, z=rows)
