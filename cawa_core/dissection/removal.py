"""Removal of units, and the share of a concept that is left without them (Bau et al. 2018, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import Generator
from cawa_core.interventions import SiteMasks, masks_at, run
from cawa_core.segmenters.base import Segmenter, concept_masks

Unit = tuple[int, int]
"""Site and channel."""
Areas = NDArray[np.int64]


def by_site(units: Sequence[Unit]) -> SiteMasks:
    """Return units as channels by site, both ascending."""
    channels: dict[int, list[int]] = {}
    for site, channel in sorted(units):
        channels.setdefault(site, []).append(channel)
    return {site: tuple(members) for site, members in channels.items()}


@torch.inference_mode()
def images_without(
    generator: Generator, z: Tensor, class_ids: Tensor, units: Sequence[Unit], batch_size: int
) -> Iterator[Tensor]:
    """Yield images ``[batch, C, H, W]`` in which units are zero everywhere; without units, unchanged images.

    Args:
        generator: generator of the images.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of the images.
        units: units to remove together.
        batch_size: images per forward pass.
    """
    changes = masks_at(by_site(units))
    for rows, ids in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
        yield run(generator, rows, ids, changes)


@torch.inference_mode()
def areas_without(
    generator: Generator, segmenter: Segmenter, z: Tensor, class_ids: Tensor, units: Sequence[Unit], batch_size: int
) -> Areas:
    """Set units to zero everywhere, and measure every concept in what is left.

    Args:
        generator: generator of the images.
        segmenter: what labels their pixels.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]`` of the images.
        units: units to remove together; none removes nothing.
        batch_size: images per forward pass.

    Returns:
        Pixels of each concept in each image, int64 ``[n, concepts]``.
    """
    batches = images_without(generator, z, class_ids, units, batch_size)
    counts = [concept_masks(segmenter, batch).sum(dim=(2, 3)) for batch in batches]
    return torch.cat(counts).cpu().numpy().astype(np.int64)


def share_left(before: NDArray[np.integer], after: NDArray[np.integer]) -> tuple[float, float]:
    """Return the share of a concept's pixels that is left, and its standard error over images.

    Args:
        before, after: pixels of the concept in the same images ``[n]``.

    Returns:
        Ratio of the sums, and the standard error of this ratio (delta method); NaN if there was nothing before.
    """
    total = float(before.sum())
    if not total:
        return float("nan"), float("nan")
    ratio = float(after.sum()) / total
    n = len(before)
    residual = after - ratio * before
    error = float(np.sqrt(n / (n - 1) * np.square(residual).sum()) / total) if n > 1 else float("nan")
    return ratio, error
