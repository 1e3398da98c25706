"""The exact engine: the same latents with and without each mask, everything that masks share computed once.

Shared by all masks of a site are the pass up to the site, the modulation of every site and the convolution after the
site; a mask then costs its own channels' contribution to that convolution, and the rest of the network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.batch_size import BatchSize
from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Channels, Generator, class_ids_of

SiteMasks = Mapping[int, Channels]
"""Site => channels set to zero there."""
Array = NDArray[np.float64]

MASKS_AT_ONCE = 4
"""At least, where a batch has room: on a CPU a batch runs on in pieces of fewer masks as feature maps grow."""


@torch.inference_mode()
def run_masked(generator: Generator, z: Tensor, class_id: int, masks: SiteMasks) -> Tensor:
    """Images of one class ``[n, C, H, W]`` with channels masked at any number of sites."""
    state = generator.run_to(0, z, class_ids_of(class_id, z))
    for site in sorted(masks):
        state = generator.advance(state, site).masked(masks[site])
    return generator.run_from(state.site, state)


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

        def scores(rows: Tensor) -> Tensor:
            state = self.generator.run_to(site, rows, class_ids_of(class_id, rows))
            images = self.generator.under_masks(state, [every[place] for place in order])
            stacked = [
                log_scores(self.evaluator, images(part), class_id).unflatten(0, (-1, len(rows)))
                for part in stacks([len(every[place]) for place in order], max(1, self.batch.images // len(rows)))
            ]
            return torch.cat(stacked)

        every = [(), *masks]
        order = sorted(range(len(every)), key=lambda place: len(every[place]))
        both = np.empty((len(every), len(z)))
        both[order] = self._by_batch(z, scores, MASKS_AT_ONCE)
        return both[0], both[1:]

    @torch.inference_mode()
    def everywhere_log_scores(self, z: Tensor, class_id: int, masks: Sequence[SiteMasks]) -> tuple[Array, Array]:
        """Like :meth:`site_log_scores` for masks over several sites at once."""

        def scores(rows: Tensor) -> Tensor:
            images = (run_masked(self.generator, rows, class_id, mask) for mask in ({}, *masks))
            return torch.stack([log_scores(self.evaluator, one, class_id) for one in images])

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


def stacks(widths: Sequence[int], size: int) -> Iterator[slice]:
    """Masks that go through the network together: at most ``size``, of one number of channels.

    Those that mask nothing go alone, each in a batch of the same form: on some processors a matrix product rounds a row
    by its place among the others, and nothing must change nothing.

    Args:
        widths: number of channels of each mask, ascending.
        size: masks in a stack.
    """
    start = 0
    for width, same in groupby(widths):
        end, step = start + len(list(same)), size if width else 1
        yield from (slice(first, min(first + step, end)) for first in range(start, end, step))
        start = end
