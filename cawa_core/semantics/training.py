"""Extractors trained by gradient: cross-entropy on the categories of generated images, with Adam."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.semantics.extractors import Extractor
from cawa_core.semantics.features import PerSite

LEARNING_RATE = 1e-2
"""Step of Adam, for features in units of their own size; ten times that of the paper, with fewer steps."""
LATE_FACTOR = 0.1
"""Factor of the learning rate in the last fifth of the steps."""

Batches = Iterator[tuple[PerSite, Tensor]]
"""Features of some images by site, and their categories ``[n, S, S]``."""


def trained(extractor: Extractor, batches: Batches, steps: int, learning_rate: float = LEARNING_RATE) -> Extractor:
    """Train an extractor, and return it ready for use.

    Args:
        extractor: extractor with initial weights, on the device of the features; it is changed.
        batches: at least as many batches as steps, normally of fresh latents.
        steps: number of steps.
        learning_rate: rate of Adam, a tenth of it in the last fifth of the steps.
    """
    with torch.inference_mode(False), torch.enable_grad():
        optimiser = torch.optim.Adam([each for each in extractor.parameters() if each.requires_grad], learning_rate)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [steps - max(1, steps // 5)], LATE_FACTOR)
        for _ in range(steps):
            features, maps = next(batches)
            loss = functional.cross_entropy(extractor(features), maps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return extractor.eval().requires_grad_(False)
