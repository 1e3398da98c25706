"""The exact engine: the same latents with and without each mask, everything that masks share computed once.

Shared by all masks of a site are the pass up to the site, the modulation of every site and the convolution after the
site; a mask then costs its own channels' contribution to that convolution, and the rest of the network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.batch_size import BatchSize
from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Channels, Generator, class_ids_of
from cawa_core.interventions import SiteMasks, masks_at, run, sweep

Array = NDArray[np.float64]

MASKS_AT_ONCE = 4
"""At least, where a batch has room: on a CPU a batch runs on in pieces of fewer masks as feature maps grow."""


@torch.inference_mode()
def log_scores(evaluator: Evaluator, images: Tensor, class_id: int) -> Tensor:
    """Log-probability of the class for each image: float64 ``[n]``."""
    return evaluator.log_probabilities(images)[:, class_id]


@dataclasses.dataclass
class MaskingEngine:
    """Scores of masked images.

    Attributes:
        generator: makes the images.
        evaluator: scores them by the log-probability of their class.
        batch: images to a forward pass; fewer for all that share it, where the device runs out of memory.
    """

    generator: Generator
    evaluator: Evaluator
    batch: BatchSize

    @torch.inference_mode()
    def site_log_scores(self, z: Tensor, class_id: int, site: int, masks: Sequence[Channels]) -> tuple[Array, Array]:
        """Log-probabilities of the class without and with each mask of one site.

        Args:
            z: latents ``[n, z_dim]``.
            class_id: of the images and of the score.
            site: where the channels are.
            masks: channels set to zero together, one entry a mask; an empty one masks nothing.

        Returns:
            Unmasked ``[n]`` and masked ``[len(masks), n]``, float64.
        """

        variants = [masks_at({site: mask}) for mask in ((), *masks)]

        def scores(rows: Tensor) -> Tensor:
            found: dict[int, Tensor] = {}
            swept = sweep(self.generator, rows, class_ids_of(class_id, rows), variants, self.batch.images)
            for indices, images in swept:
                each = log_scores(self.evaluator, images, class_id).unflatten(0, (-1, len(rows)))
                found |= zip(indices, each.unbind(), strict=True)
                del images  # makes room for the next pass
            return torch.stack([found[index] for index in range(len(variants))])

        both = self._by_batch(z, scores, MASKS_AT_ONCE)
        return both[0], both[1:]

    @torch.inference_mode()
    def everywhere_log_scores(self, z: Tensor, class_id: int, masks: Sequence[SiteMasks]) -> tuple[Array, Array]:
        """Like :meth:`site_log_scores` for masks over several sites at once."""

        def scores(rows: Tensor) -> Tensor:
            class_ids = class_ids_of(class_id, rows)
            images = (run(self.generator, rows, class_ids, masks_at(mask)) for mask in ({}, *masks))
            return torch.stack([log_scores(self.evaluator, masked, class_id) for masked in images])

        both = self._by_batch(z, scores, 1)
        return both[0], both[1:]

    def _by_batch(self, z: Tensor, scores: Callable[[Tensor], Tensor], masks: int) -> Array:
        """Scores ``[m, n]`` of all latents from those of a few, of fewer where memory runs out.

        Args:
            masks: for how many of them a batch is to have room beside the latents.
        """
        parts: list[Array] = []
        start = 0
        while start < len(z):
            left, most = len(z) - start, max(1, self.batch.images // masks)
            rows = z[start : start + math.ceil(left / math.ceil(left / most))]  # parts of equal size
            try:
                parts.append(scores(rows).cpu().numpy())
            except torch.OutOfMemoryError:
                if not self.batch.halve():
                    raise
                continue
            start += len(rows)
        return np.concatenate(parts, axis=1)
