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

from cawa_core.awareness.monte_carlo import monte_carlo_awareness
from cawa_core.class_metrics.realism import BLOCK_ROWS, RealManifold
from cawa_core.masking.engine import MaskingEngine, class_ids_of
from cawa_core.masking.screening import screened
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.stages.awareness import class_awareness
from workflows.stages.class_metrics import judged
from workflows.stages.hybrids import KINDS, mixtures_tried, pairs_of_a_class
from workflows.units import Calibration
from workflows.workbench import Workbench

MASKS_TIMED = 8
SITES_TIMED = 3
CLASSES_TIMED, SAMPLES_TIMED = 20, 500
SCALED = {"segmentation": ("segment_latents",), "hybrids": ("hybrid_tried_latents", "hybrid_latents")}
"""Stages whose clusters, projections and distances passes do not count, and the options that their work grows with."""
LARGEST_SHARE = 3 / 8
"""Of a class's latents, that a stage is timed on."""
LONGEST_SECONDS = 20.0
"""That a stage's part of a class may take by its passes alone; what would take longer is not timed."""


def calibrated(bench: Workbench) -> Calibration:
    """Time a few passes of each kind, after one that warms up.

    The audit must have an evaluator.
    """
    class_id, n, device = bench.spec.classes[0], bench.batch_size, bench.generator.device
    assert isinstance(class_id, int)
    z = bench.latents(class_id, n)
    sites = bench.generator.sites
    with bench.arithmetic():
        image = _seconds(lambda: _looked_at(bench, z, class_id), device) / n
        mask = _mask_seconds(bench, z, class_id)
        screening = _seconds(lambda: screened(bench.generator, bench.evaluator, z, class_id, n), device) / n
        classes = {stage: took for stage in SCALED if (took := _class_seconds(bench, stage, image)) is not None}
    closed, sampled = _awareness_seconds(bench, image / sum(site.channels for site in sites))
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
    engine, sites = MaskingEngine(bench.generator, bench.evaluator, bench.batch_size), bench.generator.sites
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


def _awareness_seconds(bench: Workbench, without_closed_form: float) -> tuple[float, float]:
    """Of one channel of one class in closed form, and by one sample, at the widest site."""
    widest, device = max(bench.generator.sites, key=lambda site: site.channels), bench.generator.device
    if not bench.generator.is_affine(widest.index):
        return 0.0, without_closed_form
    classes = tuple(one for one in bench.spec.classes[:CLASSES_TIMED] if isinstance(one, int))
    units, embeddings = len(classes) * widest.channels, bench.class_embeddings[list(classes)]
    closed = _seconds(lambda: class_awareness(bench, classes, widest.index), device) / units
    many, modulation = bench.latents(classes[0], SAMPLES_TIMED), bench.generator.modulation(widest.index)
    sampled = _seconds(lambda: monte_carlo_awareness(modulation, embeddings, many), device) / (units * SAMPLES_TIMED)
    return closed, sampled


def _class_seconds(bench: Workbench, name: str, image: float) -> float | None:
    """Of one class of a stage: the stage itself on two small numbers of latents, and on from there in proportion.

    Real images are left out of it, as what networks see in them is kept from class_metrics on; distances to them
    are timed apart.

    Returns:
        None where the audit does not run the stage, where this would take longer than :data:`LONGEST_SECONDS`, or where
        awareness would have to be sampled first.
    """
    stage, class_id, generator = STAGES[name], bench.spec.classes[0], bench.generator
    passes = stage.passes(bench, 0)
    affine = all(generator.is_affine(site.index) for site in generator.sites)
    if name not in bench.spec.stages or not passes or not affine or not isinstance(class_id, int):
        return None
    whole: dict[str, Any] = {option: getattr(bench.spec, option) for option in SCALED[name]}
    share = min(LARGEST_SHARE, LONGEST_SECONDS / (passes * image))
    fewest = _fewest_latents(bench)
    sizes = [
        {option: min(count, max(fewest[option], round(part * count))) for option, count in whole.items()}
        for part in (share / 2, share)
    ]
    if sizes[0] == sizes[1]:
        if share < LARGEST_SHARE:
            return None
        sizes = [whole]
    shard, device = Shard(name, (class_id,)), generator.device
    seconds: list[float] = []
    done: list[float] = []
    for latents in sizes:
        small = dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, **latents), reals=None)
        seconds.append(_seconds(functools.partial(stage.process, small, shard), device, warm=not seconds))
        done.append(stage.passes(small, 0))
    slope = max(0.0, seconds[-1] - seconds[0]) / (done[-1] - done[0]) if len(sizes) > 1 else 0.0
    found = seconds[-1] + slope * (passes - done[-1])
    return found + _realism_seconds(bench, class_id) if name == "hybrids" else found


def _fewest_latents(bench: Workbench) -> dict[str, int]:
    """That a stage can be run on: errors need two of a hybrid, and clusters as many pixels as there are of them."""
    pictures = math.ceil(max(bench.spec.segment_clusters, default=1) / bench.generator.image_size**2)
    return {"segment_latents": pictures, "hybrid_tried_latents": 2, "hybrid_latents": 2}


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
