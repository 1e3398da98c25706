"""Timing of each kind of work on this device, from a few passes."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cawa_core.applications.mixtures import KINDS
from cawa_core.applications.pixel_features import pictures_held, pixel_features
from cawa_core.awareness.monte_carlo import monte_carlo_awareness
from cawa_core.class_metrics.realism import BLOCK_ROWS, RealManifold
from cawa_core.generators.base import class_ids_of
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.screening import screened
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.stages.awareness import class_awareness
from workflows.stages.class_metrics import judged
from workflows.stages.hybrids import mixtures_tried, pairs_of_a_class
from workflows.stages.segmentation import sites_of
from workflows.units import Calibration
from workflows.workbench import Workbench

MASKS_TIMED = 8
SITES_TIMED = 3
CLASSES_TIMED, SAMPLES_TIMED = 20, 500
TIMED_STAGES = ("segmentation", "hybrids")
"""Stages timed as a whole: generator passes do not cover their clustering, projections and distances."""
FEATURES_OF_A_PICTURE = 4
"""Feature computations per picture: with and without weights, once to fit clusters and once to label."""
LARGEST_SHARE = 3 / 8
"""Largest share of a class's latents that a stage is timed on."""
LONGEST_SECONDS = 20.0
"""Approximate limit for timing one stage; a stage that would take longer is not timed."""


def calibrated(bench: Workbench) -> Calibration:
    """Time a few passes of each kind, each after a warm-up pass.

    The audit must have an evaluator.
    """
    class_id = bench.class_ids[0]
    n = bench.batch_size
    device = bench.generator.device
    z = bench.latents(class_id, n)
    with bench.arithmetic():
        image = _seconds(lambda: _generate_and_evaluate(bench, z, class_id), device) / n
        mask = _mask_seconds(bench, z, class_id)
        screening = _seconds(lambda: screened(bench.generator, bench.evaluator, z, class_id, n), device) / n
        classes = _class_seconds(bench, image)
    closed, sampled = _awareness_seconds(bench)
    return Calibration(image, mask, screening, closed, sampled, classes)


def _generate_and_evaluate(bench: Workbench, z: torch.Tensor, class_id: int) -> None:
    with torch.inference_mode():
        images = bench.generator(z, class_ids_of(class_id, z))
        if bench.reals is not None:
            judged(bench, class_id, images)
        else:
            bench.evaluator.log_probabilities(images)


def _mask_seconds(bench: Workbench, z: torch.Tensor, class_id: int) -> tuple[float, ...]:
    """Time one mask of one latent per site: measured at a few sites, interpolated linearly between them."""
    engine = MaskingEngine(bench.generator, bench.evaluator, bench.batch)
    sites = bench.generator.sites
    timed = np.unique(np.linspace(0, len(sites) - 1, SITES_TIMED).astype(int)).tolist()
    rows = z[: max(1, min(len(z), bench.spec.exact_latents))]
    seconds = []
    for site in timed:
        width = min(bench.spec.masking_group_size, sites[site].channels)
        masks = [tuple(range(width))] * MASKS_TIMED
        work = functools.partial(engine.site_log_scores, rows, class_id, site, masks)
        seconds.append(_seconds(work, bench.generator.device))
    by_site = np.interp(np.arange(len(sites)), timed, seconds) / (MASKS_TIMED * len(rows))
    return tuple(by_site.tolist())


def _awareness_seconds(bench: Workbench) -> tuple[float, float]:
    """Time one channel of one class, in closed form and per sample, at the widest affine site."""
    affine = [site for site in bench.generator.sites if bench.generator.is_affine(site.index)]
    device = bench.generator.device
    if not affine:
        return 0.0, 0.0
    widest = max(affine, key=lambda site: site.channels)
    classes = bench.class_ids[:CLASSES_TIMED]
    units = len(classes) * widest.channels
    embeddings = bench.class_embeddings[list(classes)]
    closed = _seconds(lambda: class_awareness(bench, classes, widest.index), device) / units
    z = bench.latents(classes[0], SAMPLES_TIMED)
    modulation = bench.generator.modulation(widest.index)
    sampled = _seconds(lambda: monte_carlo_awareness(modulation, embeddings, z), device) / (units * SAMPLES_TIMED)
    return closed, sampled


def _class_seconds(bench: Workbench, image: float) -> dict[str, float]:
    """Time one class for each stage in :data:`TIMED_STAGES` that has work and can be timed within the limit."""
    affine = all(bench.generator.is_affine(site.index) for site in bench.generator.sites)
    if not affine:  # these stages order channels by awareness, which would have to be sampled first
        return {}
    timers = {"segmentation": _segmentation_seconds, "hybrids": _hybrid_seconds}
    stages = [name for name in TIMED_STAGES if name in bench.spec.stages and STAGES[name].passes(bench, 0)]
    return {name: seconds for name in stages if (seconds := timers[name](bench, image)) is not None}


def _segmentation_seconds(bench: Workbench, image: float) -> float | None:
    """Time segmentation of one class: the stage itself on some latents, feature computations for the remaining latents.

    Several classes are timed, because clusters converge sooner in some than in others.

    Returns:
        None if this would take longer than :data:`LONGEST_SECONDS`.
    """
    spec = bench.spec
    generator = bench.generator
    sites = sites_of(bench, spec.segment_sites)
    fewest = math.ceil(max(spec.segment_clusters) / generator.image_size**2)
    if STAGES["segmentation"].passes(bench, 0) / spec.segment_latents * image > LONGEST_SECONDS:
        return None
    classes = sorted({bench.class_ids[place] for place in (0, len(bench.class_ids) // 2, -1)})
    z = bench.latents(classes[0], min(bench.batch_size, pictures_held(generator, sites)))

    def pixels() -> None:
        features = pixel_features(generator, z, class_ids_of(classes[0], z), sites, None, spec.seed)
        for _ in features.strips():
            pass

    per_latent = image + FEATURES_OF_A_PICTURE * _seconds(pixels, generator.device) / len(z)
    affordable = min(LARGEST_SHARE * spec.segment_latents, LONGEST_SECONDS / (per_latent * len(classes)))
    latents = min(spec.segment_latents, max(fewest, math.ceil(affordable)))
    if latents * per_latent * len(classes) > 2 * LONGEST_SECONDS:
        return None
    small = _with_latents(bench, segment_latents=latents)
    seconds = [_stage_seconds(small, "segmentation", class_id) for class_id in classes]
    return sum(seconds) / len(seconds) + (spec.segment_latents - latents) * per_latent


def _hybrid_seconds(bench: Workbench, image: float) -> float | None:
    """Time hybrids of one class: the stage at two small numbers of latents, extrapolated linearly, plus realism.

    The stage is timed without real images, because their features are cached by class_metrics.

    Returns:
        None if this would take longer than :data:`LONGEST_SECONDS`.
    """
    spec = bench.spec
    passes = STAGES["hybrids"].passes(bench, 0)
    share = min(LARGEST_SHARE, LONGEST_SECONDS / (passes * image))
    benches = [
        _with_latents(
            bench,
            hybrid_tried_latents=max(2, round(part * spec.hybrid_tried_latents)),
            hybrid_latents=max(2, round(part * spec.hybrid_latents)),
        )
        for part in (share / 2, share)
    ]
    counts = [STAGES["hybrids"].passes(small, 0) for small in benches]
    if counts[1] * image > 2 * LONGEST_SECONDS or (counts[0] == counts[1] and share < LARGEST_SHARE):
        return None
    if counts[0] == counts[1]:
        benches = [bench]
        counts = [passes]
    class_id = bench.class_ids[0]
    _stage_seconds(benches[0], "hybrids", class_id)
    seconds = [_stage_seconds(small, "hybrids", class_id) for small in benches]
    slope = max(0.0, seconds[-1] - seconds[0]) / (counts[-1] - counts[0]) if len(counts) > 1 else 0.0
    return seconds[-1] + slope * (passes - counts[-1]) + _realism_seconds(bench, class_id)


def _with_latents(bench: Workbench, **latents: Any) -> Workbench:  # noqa: ANN401
    return dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, **latents))


def _stage_seconds(bench: Workbench, name: str, class_id: int) -> float:
    """Time the ``process`` function of a stage for one class, without real images."""
    work = functools.partial(STAGES[name].process, dataclasses.replace(bench, reals=None), Shard(name, (class_id,)))
    return _seconds(work, bench.generator.device, warm=False)


def _realism_seconds(bench: Workbench, class_id: int) -> float:
    """Time the realism of one class's hybrids: features of their pictures, distances to both classes' real images."""
    if bench.reals is None:
        return 0.0
    network = bench.judges["manifold_features"]
    device = bench.generator.device
    spec = bench.spec
    z = bench.latents(class_id, bench.batch_size)
    with torch.inference_mode():
        images = bench.generator(z, class_ids_of(class_id, z))
        width = network.features(images[:1]).shape[1]
        scoring = _seconds(lambda: network.features(images).float().cpu(), device) / len(images)
    reals = torch.randn(2 * bench.reals.count_of(class_id), width, generator=torch.Generator().manual_seed(0))
    manifold = RealManifold.of(reals, spec.neighbours)
    fitting = _seconds(lambda: RealManifold.of(reals, spec.neighbours), device, warm=False)
    fakes = reals[:BLOCK_ROWS] + 1
    scoring += _seconds(lambda: manifold.realism(fakes), device) / len(fakes)
    pictures = mixtures_tried(bench) * spec.hybrid_tried_latents + len(KINDS) * spec.hybrid_latents
    return pairs_of_a_class(bench) * (fitting + pictures * scoring)


def _seconds(work: Callable[[], object], device: torch.device, warm: bool = True) -> float:
    """Time a call, after a warm-up call; on a CUDA device, wait for both to end."""
    if warm:
        work()
    _synchronize(device)
    start = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    """Wait until a CUDA device has finished its queue; do nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
