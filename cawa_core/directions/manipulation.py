"""Steps along directions, and their effects on concepts and pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cawa_core.directions.direction import Direction
from cawa_core.edits.suggestions import locality
from cawa_core.generators.base import Generator
from cawa_core.interventions import START, Conditioning, run
from cawa_core.latents.concepts import ConceptScores
from cawa_core.latents.dimensions import LATENT, DimensionUnits
from cawa_core.numerics.batch_size import images_per_backward


def moved_images(
    generator: Generator,
    z: Tensor,
    class_ids: Tensor,
    steps: Sequence[tuple[Direction, float]],
    units: DimensionUnits,
    batch_size: int = 64,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Take each of many steps from the same latents.

    Args:
        generator: generator of the images.
        z: latents ``[n, z_dim]``.
        class_ids: their classes ``[n]``.
        steps: direction and strength of each step.
        units: standard deviations of dimensions.
        batch_size: images per forward pass.

    Yields:
        Cases, int64 ``[m]``, of which case ``step · n + i`` is latent i after a step; and their images
        ``[m, C, S, S]``.

    Raises:
        InputError: a direction has other sizes than the generator's spaces.
    """
    for direction, _ in steps:
        direction.require_fits(generator)
    embedding = generator.class_embedding(class_ids)
    codes = torch.cat([direction.moved_latents(strength, z, units) for direction, strength in steps])
    embeddings = torch.cat([direction.moved_embedding(strength, embedding, units) for direction, strength in steps])
    cases = torch.arange(len(codes), device=z.device)
    for places in cases.split(batch_size):
        rows = codes[places]
        change = Conditioning(START, embedding=embeddings[places], z=rows)
        yield places, run(generator, rows, class_ids[places % len(z)], [change])


@torch.inference_mode()
def concept_changes(
    generator: Generator,
    concepts: ConceptScores,
    z: Tensor,
    class_ids: Tensor,
    steps: Sequence[tuple[Direction, float]],
    units: DimensionUnits,
    batch_size: int = 64,
) -> Tensor:
    """Return the change of each concept in each image after each step: ``[steps, n, concepts]``, float64."""
    stay = Direction.none(generator), 0.0
    scores = [
        concepts.scores(images, class_ids[cases % len(z)]).double()
        for cases, images in moved_images(generator, z, class_ids, [stay, *steps], units, batch_size)
    ]
    before, *after = torch.cat(scores).split(len(z))
    changes: Tensor = torch.stack(after) - before
    return changes


def pixel_changes(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean change of a pixel and the locality of the change, ``[n]`` each, of images ``[n, C, S, S]``."""
    pixels = (after - before).abs().mean(dim=1).flatten(1) / 2  # [n, P]
    return pixels.mean(dim=1), locality(pixels)


def concept_derivatives(
    generator: Generator,
    concepts: ConceptScores,
    z: Tensor,
    class_ids: Tensor,
    weights: Tensor,
    strength: float,
    space: str,
    units: DimensionUnits,
    batch_size: int = 64,
) -> Tensor:
    """Return the derivative of each concept's mean soft score by the weights of its own direction.

    Args:
        generator: generator of the images, with gradients.
        concepts: scores of the images.
        z: latents ``[n, z_dim]``.
        class_ids: their classes ``[n]``.
        weights: direction of each concept in one space ``[concepts, dimensions]``.
        strength: length of the step at whose end the derivative is taken.
        space: latent or embedding.
        units: standard deviations of dimensions.
        batch_size: images per pass.

    Returns:
        ``[concepts, dimensions]`` on the CPU; NaN for concepts without gradients.
    """
    with torch.inference_mode(False), torch.enable_grad():
        codes, ids = z.detach().clone(), class_ids.clone()
        embedding = generator.class_embedding(ids).detach().clone()
        variable = weights.to(codes).detach().clone().requires_grad_()
        deviation = units.latent_deviation if space == LATENT else units.embedding_deviation.clone()
        has_gradient = torch.tensor(concepts.with_gradients)
        cases = [(concept, row) for concept in has_gradient.nonzero()[:, 0].tolist() for row in range(len(codes))]

        def soft_scores(part: Sequence[tuple[int, int]]) -> Tensor:
            concept, row = torch.tensor(part, device=codes.device).T
            moved = strength * deviation * variable[concept]
            rows = codes[row] + moved if space == LATENT else codes[row]
            conditions = embedding[row] if space == LATENT else embedding[row] + moved
            images = run(generator, rows, ids[row], [Conditioning(START, embedding=conditions, z=rows)])
            return concepts.soft_scores(images, ids[row]).gather(1, concept[:, None])[:, 0]

        if not cases or not soft_scores(cases[:1]).requires_grad:  # a network of the user may cut the graph
            return torch.full_like(weights, torch.nan)
        step = images_per_backward(lambda: soft_scores(cases[:1]), codes.device, batch_size)
        for first in range(0, len(cases), step):
            soft_scores(cases[first : first + step]).sum().backward(inputs=[variable])
        assert variable.grad is not None
    derivatives = variable.grad.cpu() / (strength * len(codes))
    derivatives[~has_gradient] = torch.nan
    return derivatives
