"""Measure the counting of units against concepts against a plain count in float, one picture at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.results import Result, compared
from cawa_core.dissection.dissect import SHARES, choose_thresholds, unit_overlaps
from cawa_core.generators.base import Generator
from cawa_core.segmenters.base import Segmenter, concept_masks
from workflows.lab import Lab

IMAGES = 64
NAIVE_IMAGES = 4
"""Images that the plain count is timed on."""


def run() -> Iterator[Result]:
    """Measure the choice of thresholds among 100, and the overlap at one threshold with its chance."""
    lab = Lab.open("scenes-biggan", needs=("segmenter",), segmenter="scenes-segmenter")
    generator, segmenter = lab.generator, lab.segmenter
    z = generator.sample_latents(0, 0, range(IMAGES))
    ids = torch.arange(IMAGES) % generator.n_classes
    sites = range(len(generator.sites))
    units = sum(site.channels for site in generator.sites)
    size = f"{units} units of 8 sites, {len(segmenter.concepts)} concepts, {IMAGES} images of 32 px"
    chosen = choose_thresholds(generator, segmenter, z, ids, sites)
    few = z[:NAIVE_IMAGES], ids[:NAIVE_IMAGES]
    quantiles = [torch.from_numpy(site.values[:, :1]).expand(-1, len(SHARES)) for site in chosen]
    single = [torch.from_numpy(site.values[:, :1]) for site in chosen]
    plainly = "enlarge, threshold and count in float, one picture at a time (4 timed)"
    yield compared(
        f"best of 100 thresholds, {size}",
        plainly,
        lambda: choose_thresholds(generator, segmenter, z, ids, sites),
        lambda: counts_in_float(generator, segmenter, *few, quantiles),
        at_least=5,
        repeats=3,
        warm_up=False,
        counterpart_scale=IMAGES / NAIVE_IMAGES,
    )
    yield compared(
        f"overlap at one threshold per unit and concept, and its mean and variance by chance, {size}",
        f"{plainly}, at one threshold per unit and without chance",
        lambda: unit_overlaps(generator, segmenter, z, ids, chosen),
        lambda: counts_in_float(generator, segmenter, *few, single),
        repeats=3,
        warm_up=False,
        counterpart_scale=IMAGES / NAIVE_IMAGES,
    )


@torch.inference_mode()
def counts_in_float(
    generator: Generator, segmenter: Segmenter, z: Tensor, class_ids: Tensor, thresholds: list[Tensor]
) -> list[Tensor]:
    """Count pixels where units are on and concepts present: ``[units, thresholds, concepts]`` by site."""
    counts = [torch.zeros(*site.shape, len(segmenter.concepts)) for site in thresholds]
    side = generator.image_size
    for latents, class_id in zip(z.split(1), class_ids.split(1), strict=True):
        masks = concept_masks(segmenter, generator(latents, class_id))[0].flatten(1).float()
        for site, values in enumerate(thresholds):
            features = generator.run_to(site, latents, class_id).features
            large = functional.interpolate(features, (side, side), mode="bilinear", align_corners=False)[0].flatten(1)
            for place in range(values.shape[1]):
                on = (large > values[:, place, None]).float()
                counts[site][:, place] += on @ masks.T
    return counts
