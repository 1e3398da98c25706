"""The seconds that hybrids of a class take, from a few latents."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from cawa_core.class_metrics.realism import BLOCK_ROWS, RealManifold
from cawa_core.generators.base import class_ids_of
from cawa_core.hybrids.kinds import KINDS
from cawa_core.hybrids.mixtures import FRACTIONS
from workflows.analyses.hybrids import HYBRIDS, HybridOptions
from workflows.analyses.hybrids.partners import pairs_of_a_class
from workflows.interface import Stopwatch
from workflows.lab import Lab
from workflows.lab.memo import Memo
from workflows.planning.shards import Shard

if TYPE_CHECKING:
    from workflows.analyses.hybrids.work import HybridsWork

LARGEST_SHARE, LONGEST_SECONDS = 3 / 8, 20.0
"""Largest share of a class's latents, and approximate limit of seconds, that a plan times."""


def mixtures_tried(lab: Lab) -> int:
    """Return the approximate number of mixtures tried per pair."""
    return len(lab.generator.sites) * (len(FRACTIONS) + 1)


def class_seconds(
    work: HybridsWork, lab: Lab, options: HybridOptions, image: float, seconds: Stopwatch
) -> float | None:
    """Time one class: the work at two small numbers of latents, extrapolated linearly, plus realism.

    The work is timed without real images, because their features are cached.

    Args:
        work: the work.
        lab: models and real images.
        options: options of the audit.
        image: seconds to generate an image and evaluate it.
        seconds: stopwatch.

    Returns:
        None if this would take longer than :data:`LONGEST_SECONDS`.
    """
    class_id = lab.class_ids[0]
    shard = Shard(HYBRIDS.name, (class_id,))
    without_real_images = dataclasses.replace(lab, real_image_set=None, memo=Memo())
    passes = work.cost(lab, options, class_id, ()).passes
    share = min(LARGEST_SHARE, LONGEST_SECONDS / (passes * image))
    smaller = [
        dataclasses.replace(
            options,
            hybrid_tried_latents=max(2, round(part * options.hybrid_tried_latents)),
            hybrid_scored_latents=max(2, round(part * options.hybrid_scored_latents)),
        )
        for part in (share / 2, share)
    ]
    counts = [work.cost(lab, some_latents, class_id, ()).passes for some_latents in smaller]
    if counts[1] * image > 2 * LONGEST_SECONDS or (counts[0] == counts[1] and share < LARGEST_SHARE):
        return None
    if counts[0] == counts[1]:
        smaller = [options]
        counts = [passes]

    def measured(latents: HybridOptions) -> float:
        return seconds(lambda: work.run(without_real_images, latents, shard, None), False)

    measured(smaller[0])
    times = [measured(latents) for latents in smaller]
    slope = max(0.0, times[-1] - times[0]) / (counts[-1] - counts[0]) if len(counts) > 1 else 0.0
    return times[-1] + slope * (passes - counts[-1]) + _realism_seconds(lab, options, class_id, seconds)


def _realism_seconds(lab: Lab, options: HybridOptions, class_id: int, seconds: Stopwatch) -> float:
    """Time the realism of one class's hybrids: features of their pictures, distances to both classes' real images."""
    if lab.real_image_set is None:
        return 0.0
    network = lab.networks["manifold_features"]
    z = lab.latents(class_id, lab.batch_size)
    with torch.inference_mode():
        images = lab.generator(z, class_ids_of(class_id, z))
        width = network.features(images[:1]).shape[1]
        scoring = seconds(lambda: network.features(images).float().cpu(), True) / len(images)
    features = torch.randn(2 * lab.real_image_set.count_of(class_id), width, generator=torch.Generator().manual_seed(0))
    manifold = RealManifold.of(features, options.neighbours)
    fitting = seconds(lambda: RealManifold.of(features, options.neighbours), False)
    fakes = features[:BLOCK_ROWS] + 1
    scoring += seconds(lambda: manifold.realism(fakes), True) / len(fakes)
    pictures = mixtures_tried(lab) * options.hybrid_tried_latents + len(KINDS) * options.hybrid_scored_latents
    return pairs_of_a_class(lab, options) * (fitting + pictures * scoring)
