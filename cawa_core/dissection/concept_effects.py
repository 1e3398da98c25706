"""Causal effects of sets of units on a concept (Bau et al. 2019, *GAN Dissection*, section 3.2).

Units are set to zero, or to the values that they have where the concept is (insertion). A set with a large effect is
chosen by optimisation: every unit gets a weight α in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cawa_core.dissection.removal import Unit, by_site
from cawa_core.generators.base import Generator
from cawa_core.interventions import Constant, Intervention, run
from cawa_core.numerics.batch_size import images_per_backward
from cawa_core.segmenters.base import Segmenter, concept_masks

LEARNING_RATE = 0.05
"""Step of Adam, five times that of the paper, since there are fewer steps."""
PENALTY = 0.05
"""Weight of the norm of all α against the effect, which is 1 where a concept comes and goes entirely."""
REGION_PART = 4
"""An insertion changes a square with an edge of this part of the image's."""

PerSite = list[Tensor]
"""One value per unit ``[C]``, by site."""


@torch.inference_mode()
def mean_features(
    generator: Generator, segmenter: Segmenter, z: Tensor, class_ids: Tensor, concept: int, batch_size: int
) -> PerSite:
    """Return the mean features of every unit where images show a concept, weighted by how much of a cell shows it.

    Args:
        generator: generator of the images.
        segmenter: what labels their pixels.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]``; some images must show the concept.
        concept: index of the concept.
        batch_size: images per forward pass.
    """
    sums = [torch.zeros(site.channels, dtype=torch.float64, device=generator.device) for site in generator.sites]
    weights = [torch.zeros((), dtype=torch.float64, device=generator.device) for _ in generator.sites]
    for rows, ids in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
        mask = concept_masks(segmenter, generator(rows, ids))[:, concept].float()[:, None]
        state = generator.run_to(0, rows, ids)
        for site in generator.sites:
            state = generator.advance(state, site.index)
            height, width = state.features.shape[2:]
            share = functional.adaptive_avg_pool2d(mask, (height, width))
            sums[site.index] += (state.features * share).sum(dim=(0, 2, 3), dtype=torch.float64)
            weights[site.index] += share.sum(dtype=torch.float64)
    return [(total / weight).float() for total, weight in zip(sums, weights, strict=True)]


def optimised_weights(
    generator: Generator,
    segmenter: Segmenter,
    z: Tensor,
    class_ids: Tensor,
    concept: int,
    values: PerSite,
    start: PerSite,
    random: np.random.Generator,
    *,
    steps: int,
    images_per_step: int,
    batch_size: int,
) -> PerSite:
    """Choose a weight α in [0, 1] for every unit, so that the units with high ones have a large effect on a concept.

    The effect is the probability of the concept in a square where the units are inserted, less that where the concept
    was and they are removed, over that before; minimised are ``-effect + λ‖α‖₂`` by Adam.

    Args:
        generator: generator of the images.
        segmenter: what labels their pixels, with probabilities.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of images that all show the concept.
        concept: index of the concept.
        values: values of inserted units, see :func:`mean_features`.
        start: initial weights, such as IoU divided by the highest.
        random: source of the batches and squares.
        steps: number of steps.
        images_per_step: images that the effect of a step is measured on.
        batch_size: images per forward and backward pass, fewer if these would keep too much memory; changes
            the weights by rounding only.

    Raises:
        InputError: the segmenter has no probabilities.
    """
    with torch.inference_mode(False), torch.enable_grad():
        z, class_ids = z.clone(), class_ids.clone()
        values = [value.clone() for value in values]
        weights = [value.clone().requires_grad_() for value in start]
        optimiser = torch.optim.Adam(weights, lr=LEARNING_RATE)
        batch_size = images_per_backward(
            lambda: segmenter.probabilities(run(generator, z[:1], class_ids[:1], _removed(weights))),
            z.device,
            min(images_per_step, batch_size),
        )
        every_mask, before = _masks(generator, segmenter, z, class_ids, concept, batch_size)
        for _ in range(steps):
            places = torch.from_numpy(np.sort(random.permutation(len(z))[:images_per_step])).to(z.device)
            masks = every_mask[places]
            squares = torch.from_numpy(free_squares(masks.cpu().numpy(), generator, random)).to(masks.device)
            optimiser.zero_grad()
            (PENALTY * torch.cat(weights).norm()).backward(inputs=weights)
            # Each part's graph is freed before the next is built.
            for part in torch.arange(len(places), device=z.device).split(batch_size):
                rows, ids, region = z[places[part]], class_ids[places[part]], squares[part]
                if region.any():
                    images = run(generator, rows, ids, _inserted(weights, values, region))
                    inserted = _probability(segmenter, images, concept, region) / squares.sum()
                    (-inserted / before).backward(inputs=weights)
                images = run(generator, rows, ids, _removed(weights))
                remaining = _probability(segmenter, images, concept, masks[part]) / masks.sum()
                (remaining / before).backward(inputs=weights)
            optimiser.step()
            with torch.no_grad():
                for weight in weights:
                    weight.clamp_(0, 1)
    return [weight.detach() for weight in weights]


@torch.no_grad()
def _masks(
    generator: Generator, segmenter: Segmenter, z: Tensor, class_ids: Tensor, concept: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return where images show a concept, bool ``[n, S, S]``, and its mean probability there."""
    masks = []
    totals = []
    for rows, ids in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
        images = generator(rows, ids)
        masks.append(concept_masks(segmenter, images)[:, concept])
        totals.append(segmenter.probabilities(images)[:, concept][masks[-1]].sum())
    every_mask = torch.cat(masks)
    return every_mask, torch.stack(totals).sum() / every_mask.sum()


def _removed(weights: PerSite) -> list[Intervention]:
    return [Intervention(site, tuple(range(len(weight))), Constant(0), weight) for site, weight in enumerate(weights)]


def _inserted(weights: PerSite, values: PerSite, region: Tensor) -> list[Intervention]:
    return [
        Intervention(site, tuple(range(len(weight))), Constant(value), weight, region.float())
        for site, (weight, value) in enumerate(zip(weights, values, strict=True))
    ]


def _probability(segmenter: Segmenter, images: Tensor, concept: int, where: Tensor) -> Tensor:
    """Return the sum of the probability of a concept over some pixels of images, bool ``[n, S, S]``."""
    return (segmenter.probabilities(images)[:, concept] * where).sum()


def free_squares(masks: NDArray[np.bool_], generator: Generator, random: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a square in each image that shows nothing of a concept, at random.

    Squares lie on the cells of the site of lowest resolution, so that a change stays in the square at every site.

    Args:
        masks: where each image shows the concept ``[n, S, S]``.
        generator: generator of the images.
        random: source of the choice; one draw per image, whatever it shows.

    Returns:
        bool ``[n, S, S]``; nothing in an image that shows the concept in every square.
    """
    side = generator.image_size
    step = max(1, side // min(site.resolution for site in generator.sites))
    edge = max(step, side // REGION_PART // step * step)
    corners = [(row, column) for row in range(0, side - edge + 1, step) for column in range(0, side - edge + 1, step)]
    squares = np.zeros_like(masks)
    for square, mask in zip(squares, masks, strict=True):
        for place in random.permutation(len(corners)):
            row, column = corners[place]
            if not mask[row : row + edge, column : column + edge].any():
                square[row : row + edge, column : column + edge] = True
                break
    return squares


@torch.inference_mode()
def pixels_with(
    generator: Generator,
    segmenter: Segmenter,
    z: Tensor,
    class_ids: Tensor,
    sets: Mapping[str, Sequence[Unit]],
    values: PerSite,
    squares: NDArray[np.bool_],
    concept: int,
    batch_size: int,
) -> dict[str, NDArray[np.int64]]:
    """Insert units into a square of each image, and count the pixels of the square that then show a concept.

    Args:
        generator: generator of the images.
        segmenter: what labels their pixels.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of the images.
        sets: units to insert together, by name.
        values: values of inserted units, see :func:`mean_features`.
        squares: where they are inserted, bool ``[n, S, S]``.
        concept: index of the concept.
        batch_size: images per forward pass.

    Returns:
        Pixels in each image, int64 ``[n]``, by the name of the set.
    """
    region = torch.from_numpy(squares).to(z.device)
    counts: dict[str, NDArray[np.int64]] = {}
    for name, units in sets.items():
        parts = []
        for rows, ids, part in zip(
            z.split(batch_size), class_ids.split(batch_size), region.split(batch_size), strict=True
        ):
            changes = [
                Intervention(site, channels, Constant(values[site][list(channels)]), None, part.float())
                for site, channels in by_site(units).items()
            ]
            masks = concept_masks(segmenter, run(generator, rows, ids, changes))[:, concept]
            parts.append((masks & part).sum(dim=(1, 2)))
        counts[name] = torch.cat(parts).cpu().numpy().astype(np.int64)
    return counts
