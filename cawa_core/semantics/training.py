"""Extractors trained by gradient: cross-entropy on the categories of generated images, with Adam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.semantics.extractors import Extractor
from cawa_core.semantics.features import PerSite

LATE_FACTOR = 0.1
"""Factor of the learning rate in the last fifth of the steps."""

Batches = Iterator[tuple[PerSite, Tensor]]
"""Features of some images by site, and their categories ``[n, S, S]``."""


def trained(
    extractors: Sequence[Extractor], batches: Batches, steps: int, learning_rates: Sequence[float]
) -> list[Extractor]:
    """Train extractors of the same sites side by side, and return them ready for use; none depends on the others.

    Args:
        extractors: extractors with initial weights, on the device of the features; they are changed.
        batches: at least as many batches as steps, normally of fresh latents.
        steps: number of steps.
        learning_rates: rate of Adam for each extractor, a tenth of it in the last fifth of the steps.
    """
    with torch.inference_mode(False), torch.enable_grad():
        optimisers = [
            torch.optim.Adam([each for each in extractor.parameters() if each.requires_grad], rate)
            for extractor, rate in zip(extractors, learning_rates, strict=True)
        ]
        schedules = [
            torch.optim.lr_scheduler.MultiStepLR(optimiser, [steps - max(1, steps // 5)], LATE_FACTOR)
            for optimiser in optimisers
        ]
        for _ in range(steps):
            features, maps = next(batches)
            for extractor, optimiser, schedule in zip(extractors, optimisers, schedules, strict=True):
                loss = functional.cross_entropy(extractor(features), maps)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return [extractor.eval().requires_grad_(False) for extractor in extractors]
