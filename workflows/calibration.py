"""A few pieces of each kind of work, timed on this device."""

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
OWN_WORK = ("segmentation", "hybrids")
"""Stages whose clusters, projections and distances passes do not count."""
FEATURES_OF_A_PICTURE = 4
"""With and without weights, once to fit clusters and once to label."""
LARGEST_SHARE = 3 / 8
"""Of a class's latents, that a stage is timed on."""
LONGEST_SECONDS = 20.0
"""That the timing of a stage may take, about; what would take longer is not timed."""


def calibrated(bench: Workbench) -> Calibration:
    """Time a few passes of each kind, after one that warms up.

    The audit must have an evaluator.
    """
    class_id, n, device = bench.class_ids[0], bench.batch_size, bench.generator.device
    z = bench.latents(class_id, n)
    with bench.arithmetic():
        image = _seconds(lambda: _looked_at(bench, z, class_id), device) / n
        mask = _mask_seconds(bench, z, class_id)
        screening = _seconds(lambda: screened(bench.generator, bench.evaluator, z, class_id, n), device) / n
        classes = _class_seconds(bench, image)
    closed, sampled = _awareness_seconds(bench)
    return Calibration(image, mask, screening, closed, sampled, classes)


def _looked_at(bench: Workbench, z: torch.Tensor, class_id: int) -> None:
    with torch.inference_mode():
        images = bench.generator(z, class_ids_of(class_id, z))
        if bench.reals is not None:
            judged(bench, class_id, images)
        else:
            bench.evaluator.log_probabilities(images)


def _mask_seconds(bench: Workbench, z: torch.Tensor, class_id: int) -> tuple[float, ...]:
    """Of one mask and latent, at each site: timed at some, and between them in proportion."""
    engine, sites = MaskingEngine(bench.generator, bench.evaluator, bench.batch), bench.generator.sites
    timed = np.unique(np.linspace(0, len(sites) - 1, SITES_TIMED).astype(int)).tolist()
    rows = z[: max(1, min(len(z), bench.spec.exact_latents))]
    seconds = []
    for site in timed:
        width = min(bench.spec.masking_group_size, sites[site].channels)
        masks = [tuple(range(width))] * MASKS_TIMED
        work = functools.partial(engine.site_log_scores, rows, class_id, site, masks)
        seconds.append(_seconds(work, bench.generator.device))
    each = np.interp(np.arange(len(sites)), timed, seconds) / (MASKS_TIMED * len(rows))
    return tuple(each.tolist())


def _awareness_seconds(bench: Workbench) -> tuple[float, float]:
    """Of one channel of one class in closed form, and by one sample, at the widest site that is affine."""
    affine, device = [s for s in bench.generator.sites if bench.generator.is_affine(s.index)], bench.generator.device
    if not affine:
        return 0.0, 0.0
    widest = max(affine, key=lambda site: site.channels)
    classes = bench.class_ids[:CLASSES_TIMED]
    units, embeddings = len(classes) * widest.channels, bench.class_embeddings[list(classes)]
    closed = _seconds(lambda: class_awareness(bench, classes, widest.index), device) / units
    many, modulation = bench.latents(classes[0], SAMPLES_TIMED), bench.generator.modulation(widest.index)
    sampled = _seconds(lambda: monte_carlo_awareness(modulation, embeddings, many), device) / (units * SAMPLES_TIMED)
    return closed, sampled


def _class_seconds(bench: Workbench, image: float) -> dict[str, float]:
    """Of one class, for each stage in :data:`OWN_WORK` that has any, and can be timed in time."""
    affine = all(bench.generator.is_affine(site.index) for site in bench.generator.sites)
    if not affine:  # awareness, which these stages order channels by, would have to be sampled first
        return {}
    timed = {"segmentation": _segmentation_seconds, "hybrids": _hybrid_seconds}
    own = [name for name in OWN_WORK if name in bench.spec.stages and STAGES[name].passes(bench, 0)]
    return {name: took for name in own if (took := timed[name](bench, image)) is not None}


def _segmentation_seconds(bench: Workbench, image: float) -> float | None:
    """The stage on some latents of several classes, whose clusters settle sooner or later, and features of the others.

    Returns:
        None where this would take longer than :data:`LONGEST_SECONDS`.
    """
    spec, generator = bench.spec, bench.generator
    sites = sites_of(bench, spec.segment_sites)
    fewest = math.ceil(max(spec.segment_clusters) / generator.image_size**2)
    if STAGES["segmentation"].passes(bench, 0) / spec.segment_latents * image > LONGEST_SECONDS:
        return None
    classes = sorted({bench.class_ids[place] for place in (0, len(bench.class_ids) // 2, -1)})
    z = bench.latents(classes[0], min(bench.batch_size, pictures_held(generator, sites)))

    def pixels() -> None:
        made = pixel_features(generator, z, class_ids_of(classes[0], z), sites, None, spec.seed)
        for _ in made.strips():
            pass

    each = image + FEATURES_OF_A_PICTURE * _seconds(pixels, generator.device) / len(z)
    affordable = min(LARGEST_SHARE * spec.segment_latents, LONGEST_SECONDS / (each * len(classes)))
    latents = min(spec.segment_latents, max(fewest, math.ceil(affordable)))
    if latents * each * len(classes) > 2 * LONGEST_SECONDS:
        return None
    small = _with_latents(bench, segment_latents=latents)
    took = [_stage_seconds(small, "segmentation", class_id) for class_id in classes]
    return sum(took) / len(took) + (spec.segment_latents - latents) * each


def _hybrid_seconds(bench: Workbench, image: float) -> float | None:
    """The stage on two small numbers of latents, and on from there in proportion; realism apart.

    Real images are left out of the former: what networks see in them is kept from class_metrics on.

    Returns:
        None where this would take longer than :data:`LONGEST_SECONDS`.
    """
    spec, passes = bench.spec, STAGES["hybrids"].passes(bench, 0)
    share = min(LARGEST_SHARE, LONGEST_SECONDS / (passes * image))
    sizes = [
        _with_latents(
            bench,
            hybrid_tried_latents=max(2, round(part * spec.hybrid_tried_latents)),
            hybrid_latents=max(2, round(part * spec.hybrid_latents)),
        )
        for part in (share / 2, share)
    ]
    done = [STAGES["hybrids"].passes(one, 0) for one in sizes]
    if done[1] * image > 2 * LONGEST_SECONDS or (done[0] == done[1] and share < LARGEST_SHARE):
        return None
    if done[0] == done[1]:
        sizes, done = [bench], [passes]
    class_id = bench.class_ids[0]
    _stage_seconds(sizes[0], "hybrids", class_id)
    took = [_stage_seconds(one, "hybrids", class_id) for one in sizes]
    slope = max(0.0, took[-1] - took[0]) / (done[-1] - done[0]) if len(done) > 1 else 0.0
    return took[-1] + slope * (passes - done[-1]) + _realism_seconds(bench, class_id)


def _with_latents(bench: Workbench, **latents: Any) -> Workbench:  # noqa: ANN401
    return dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, **latents))


def _stage_seconds(bench: Workbench, name: str, class_id: int) -> float:
    """Of a stage's own function for one class, without real images."""
    unreal, shard = dataclasses.replace(bench, reals=None), Shard(name, (class_id,))
    return _seconds(functools.partial(STAGES[name].process, unreal, shard), bench.generator.device, warm=False)


def _realism_seconds(bench: Workbench, class_id: int) -> float:
    """Of a class of hybrids: features of its pictures, and distances to the real images of both classes."""
    if bench.reals is None:
        return 0.0
    network, device, spec = bench.judges["manifold_features"], bench.generator.device, bench.spec
    z = bench.latents(class_id, bench.batch_size)
    with torch.inference_mode():
        images = bench.generator(z, class_ids_of(class_id, z))
        width = network.features(images[:1]).shape[1]
        looking = _seconds(lambda: network.features(images).float().cpu(), device) / len(images)
    reals = torch.randn(2 * bench.reals.count_of(class_id), width, generator=torch.Generator().manual_seed(0))
    manifold = RealManifold.of(reals, spec.neighbours)
    fitting = _seconds(lambda: RealManifold.of(reals, spec.neighbours), device, warm=False)
    fakes = reals[:BLOCK_ROWS] + 1
    looking += _seconds(lambda: manifold.realism(fakes), device) / len(fakes)
    pictures = mixtures_tried(bench) * spec.hybrid_tried_latents + len(KINDS) * spec.hybrid_latents
    return pairs_of_a_class(bench) * (fitting + pictures * looking)


def _seconds(work: Callable[[], object], device: torch.device, warm: bool = True) -> float:
    """Of a call, after one that warms up and on a CUDA device has ended, too."""
    if warm:
        work()
    _synchronize(device)
    start = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    """Wait for what the device still has in its queue; a CPU has none."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
