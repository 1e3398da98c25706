"""Pictures of a wanted layout: latents optimised until an extractor reads the layout off the features.

After Xu and Zheng (2021), section 5: of a few random latents the one with the closest layout is moved for 50 steps of
Adam, by the cross-entropy of its pixels with the wanted categories, and kept close to where it began and to zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.generators.base import Generator
from cawa_core.interventions import run_with_features
from cawa_core.semantics.extractors import Extractor

ANYTHING = -1
"""Category of a pixel of a layout that may show anything."""
STEPS = 50
LEARNING_RATE = 0.03
"""Step of Adam; three times that of the paper."""
NEAR_START = NEAR_ZERO = 1e-3
"""Weights of the squared distances of a latent from where it began and from zero."""
PASSES_PER_STEP = 3
"""Passes of an image that take as long as a step: forward and back."""


def layout_loss(scores: Tensor, layouts: Tensor) -> Tensor:
    """Return the mean cross-entropy of each image over the pixels that its layout names: ``[n]``.

    Args:
        scores: scores of categories ``[n, categories, S, S]``.
        layouts: wanted categories, int64 ``[n, S, S]``; ``ANYTHING`` (-1) where they do not matter.
    """
    by_pixel = functional.cross_entropy(scores, layouts, ignore_index=ANYTHING, reduction="none")
    return by_pixel.sum(dim=(1, 2)) / (layouts != ANYTHING).sum(dim=(1, 2)).clamp(min=1)


def layout_agreement(maps: Tensor, layouts: Tensor) -> Tensor:
    """Return the share of the named pixels of layouts that maps ``[n, S, S]`` agree with: ``[n]``."""
    named = layouts != ANYTHING
    return ((maps == layouts) & named).sum(dim=(1, 2)) / named.sum(dim=(1, 2)).clamp(min=1)


def closest_latents(
    generator: Generator, extractor: Extractor, layout: Tensor, class_id: int, z: Tensor, count: int, batch_size: int
) -> Tensor:
    """Return the latents whose images have the layout most closely, the closest first.

    Args:
        generator: generator of the images.
        extractor: what reads the categories.
        layout: wanted categories, int64 ``[S, S]``.
        class_id: class of the images.
        z: latents to choose from ``[n, z_dim]``.
        count: number of latents to return.
        batch_size: images per forward pass.
    """
    with torch.inference_mode():
        losses = []
        for rows in z.split(batch_size):
            ids = torch.full((len(rows),), class_id, device=z.device)
            features, _ = run_with_features(generator, rows, ids, extractor.sites)
            losses.append(layout_loss(extractor(features), layout.expand(len(rows), -1, -1)))
        order = torch.cat(losses).argsort(stable=True)[:count]
    return z[order]


def optimised_latents(
    generator: Generator,
    extractor: Extractor,
    layouts: Tensor,
    class_ids: Tensor,
    start: Tensor,
    *,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
) -> Tensor:
    """Move latents until their images have the wanted layouts, and return the best ones on the way.

    Args:
        generator: generator of the images, with gradients.
        extractor: what reads the categories.
        layouts: wanted categories, int64 ``[n, S, S]``; ``ANYTHING`` (-1) where they do not matter.
        class_ids: classes ``[n]``.
        start: initial latents ``[n, z_dim]``.
        steps: number of steps.
        learning_rate: step of Adam.

    Returns:
        Latents ``[n, z_dim]``; each depends on its own row only.
    """

    layouts, class_ids, start = for_gradients(layouts, class_ids, start)

    def loss(z: Tensor) -> Tensor:
        features, _ = run_with_features(generator, z, class_ids, extractor.sites)
        near = NEAR_START * (z - start).square().sum(dim=1) + NEAR_ZERO * z.square().sum(dim=1)
        return layout_loss(extractor(features), layouts) + near

    return minimised(loss, start, steps, learning_rate)


def for_gradients(*tensors: Tensor) -> list[Tensor]:
    """Return copies that can be part of a graph, wherever the tensors come from."""
    with torch.inference_mode(False):
        return [tensor.detach().clone() for tensor in tensors]


def minimised(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int, learning_rate: float) -> Tensor:
    """Minimise a loss of each row by Adam, and return the best value of each row.

    Args:
        loss: differentiable function of values ``[n, ...]``: the loss of each row ``[n]``.
        start: initial values.
        steps: number of steps.
        learning_rate: step of Adam.
    """
    with torch.inference_mode(False), torch.enable_grad():
        values = start.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([values], learning_rate)
        best, lowest = values.detach().clone(), torch.full((len(values),), torch.inf, device=values.device)
        for step in range(steps + 1):
            losses = loss(values)
            better = losses.detach() < lowest
            best[better] = values.detach()[better]
            lowest = torch.where(better, losses.detach(), lowest)
            if step < steps:
                optimiser.zero_grad()
                losses.sum().backward()
                optimiser.step()
    return best
