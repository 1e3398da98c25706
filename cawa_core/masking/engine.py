"""Exact masking: the same latents with and without each mask, with everything that masks share computed once.

All masks of a site share the pass up to the site, the modulation of every site and the convolution after the site. Each
mask then costs its channels' contribution to that convolution, and the rest of the network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Channels, Generator, class_ids_of
from cawa_core.interventions import SiteMasks, masks_at, run, sweep
from cawa_core.numerics.batch_size import BatchSize

Array = NDArray[np.float64]

MASKS_AT_ONCE = 4
"""Minimum masks per batch if memory allows; on a CPU, batches are split further as feature maps grow."""


@torch.inference_mode()
def log_scores(evaluator: Evaluator, images: Tensor, class_id: int) -> Tensor:
    """Return the log-probability of the class for each image: float64 ``[n]``."""
    return evaluator.log_probabilities(images)[:, class_id]


@dataclasses.dataclass
class MaskingEngine:
    """Scores images with and without masks.

    Attributes:
        generator: generator of the images.
        evaluator: classifier that scores them by the log-probability of their class.
        batch: images per forward pass; halved, for everything that shares it, when the device runs out of memory.
    """

    generator: Generator
    evaluator: Evaluator
    batch: BatchSize

    @torch.inference_mode()
    def site_log_scores(self, z: Tensor, class_id: int, site: int, masks: Sequence[Channels]) -> tuple[Array, Array]:
        """Return log-probabilities of the class without and with each mask of a site.

        Args:
            z: latents ``[n, z_dim]``.
            class_id: class of the images and of the score.
            site: site of the channels.
            masks: channels set to zero together, one entry per mask; an empty one masks nothing.

        Returns:
            Unmasked ``[n]`` and masked ``[len(masks), n]``, float64.
        """
        variants = [masks_at({site: mask}) for mask in ((), *masks)]

        def scores(rows: Tensor) -> Tensor:
            scores_of_variant: dict[int, Tensor] = {}
            swept = sweep(self.generator, rows, class_ids_of(class_id, rows), variants, self.batch.images)
            for indices, images in swept:
                per_variant = log_scores(self.evaluator, images, class_id).unflatten(0, (-1, len(rows)))
                scores_of_variant |= zip(indices, per_variant.unbind(), strict=True)
                del images  # frees memory for the next pass
            return torch.stack([scores_of_variant[index] for index in range(len(variants))])

        log_probabilities = self._by_batch(z, scores, MASKS_AT_ONCE)
        return log_probabilities[0], log_probabilities[1:]

    @torch.inference_mode()
    def everywhere_log_scores(self, z: Tensor, class_id: int, masks: Sequence[SiteMasks]) -> tuple[Array, Array]:
        """Return log-probabilities as :meth:`site_log_scores` does, for masks of several sites at once."""

        def scores(rows: Tensor) -> Tensor:
            class_ids = class_ids_of(class_id, rows)
            images = (run(self.generator, rows, class_ids, masks_at(mask)) for mask in ({}, *masks))
            return torch.stack([log_scores(self.evaluator, masked, class_id) for masked in images])

        log_probabilities = self._by_batch(z, scores, 1)
        return log_probabilities[0], log_probabilities[1:]

    def _by_batch(self, z: Tensor, scores: Callable[[Tensor], Tensor], masks_per_batch: int) -> Array:
        """Score all latents a few at a time, fewer after an out-of-memory error: ``[m, n]``.

        Args:
            z: latents ``[n, z_dim]``.
            scores: function that returns the scores ``[m, k]`` of k latents.
            masks_per_batch: number of masks of each latent that must fit into a batch.
        """
        parts: list[Array] = []
        start = 0
        while start < len(z):
            remaining = len(z) - start
            largest = max(1, self.batch.images // masks_per_batch)
            rows = z[start : start + math.ceil(remaining / math.ceil(remaining / largest))]  # parts of equal size
            try:
                parts.append(scores(rows).cpu().numpy())
            except torch.OutOfMemoryError:
                if not self.batch.halve():
                    raise
                continue
            start += len(rows)
        return np.concatenate(parts, axis=1)
