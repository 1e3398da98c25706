"""Measure linear maps in closed form from streamed sums against training by gradient, and against keeping features."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from operator import add

import torch

from benchmarks.results import Result, compared, seconds_of
from cawa_core.generators.base import class_ids_of
from cawa_core.semantics.agreement import iou_of_set, mean_iou
from cawa_core.semantics.categories import category_maps_of
from cawa_core.semantics.closed_form import NormalEquations, ridge_weights
from cawa_core.semantics.extractors import Extractor, LinearExtractor
from cawa_core.semantics.layouts import PASSES_PER_STEP, closest_latents, optimised_latents
from cawa_core.semantics.sums import FeatureSums, channel_scales
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import SemanticOptions
from workflows.analyses.semantics.training import Trainer
from workflows.lab import Lab
from workflows.lab.memo import Memo

IMAGES = 480
STEPS = 300
TESTED_IMAGES = 4
"""Images of each class that the maps are scored on."""
CHANNELS, SIDE, CATEGORIES = 1000, 64, 21
"""Channels of each of five sites, from 4 to 64 pixels, whose sums are streamed."""
STREAMED = 32
ANNOTATED = 8
DRAWS, LAYOUT_STEPS, BATCH = 10, 50, 64
MOST_GIB = 2.0


def run() -> Iterator[Result]:
    """Measure the time of both ways to a linear map, and the memory of sums and of features."""
    lab = Lab.open("scenes-biggan", needs=("segmenter",), segmenter="scenes-segmenter")
    options = SemanticOptions(semantics_training_latents=IMAGES, semantics_steps=STEPS)

    def trainer() -> Trainer:
        return Trainer(dataclasses.replace(lab, memo=Memo()), options)  # nothing is remembered of the last repeat

    scored = {method: round(_score(trainer(), method), 3) for method in ("lda", "ridge", "lse")}
    yield compared(
        f"linear discriminant of all sites, each site alone, from {IMAGES} images",
        f"LSE by gradient, {STEPS} steps of 8 new images",
        lambda: trainer().closed_form("lda"),
        lambda: trainer().by_gradient("lse"),
        repeats=3,
        warm_up=False,
        facts={f"mIoU of {method}": value for method, value in scored.items()},
    )
    yield compared(
        f"linear discriminant of all sites from {ANNOTATED} annotated images",
        "LSE by gradient, 150 steps of the same images",
        lambda: trainer().few_shot("lda", ANNOTATED, 0),
        lambda: trainer().few_shot("lse", ANNOTATED, 0),
        repeats=3,
    )
    yield _layout(lab, trainer().closed_form("lda")[ALL_SITES])
    yield _memory()


def _layout(lab: Lab, extractor: LinearExtractor) -> Result:
    """Compare the time of optimising latents for a layout with that of as many draws as it is said to cost."""
    generator, passes = lab.generator, DRAWS + PASSES_PER_STEP * LAYOUT_STEPS
    z = lab.latents(7, passes)
    ids = class_ids_of(7, z[:1])
    with torch.no_grad():
        layout = category_maps_of(lab.segmenter, generator(generator.sample_latents(1, 7, [0]), ids))

    def optimise() -> None:
        start = closest_latents(generator, extractor, layout[0], 7, z[:DRAWS], 1, BATCH)
        optimised_latents(generator, extractor, layout, ids, start, steps=LAYOUT_STEPS)

    return compared(
        f"an image of a layout: the closest of {DRAWS} draws, optimised by {LAYOUT_STEPS} steps",
        f"the closest of {passes} draws, which count as much",
        optimise,
        lambda: closest_latents(generator, extractor, layout[0], 7, z, 1, BATCH),
        repeats=5,
    )


def _score(trainer: Trainer, method: str) -> float:
    """Return the mean IoU of a map in new images of all classes."""
    extractor: Extractor = (
        trainer.by_gradient(method)[method] if method == "lse" else trainer.closed_form(method)[ALL_SITES]
    )
    counts = []
    for class_id in range(trainer.lab.generator.n_classes):
        z = trainer.lab.latents(class_id, TESTED_IMAGES)
        counts.append(trainer.counts(extractor, trainer.labelled(z, class_ids_of(class_id, z))))
    return mean_iou(iou_of_set(reduce(add, counts)))


def _memory() -> Result:
    """Compare the memory of a map from streamed sums with that of all enlarged features."""
    channels = 5 * CHANNELS
    features_gib = STREAMED * channels * SIDE**2 * 4 / 2**30
    code = "from benchmarks.semantics import stream; stream()"
    before, after = (
        int(number)
        for number in subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )
    peak = (after - before) / 2**20
    return Result(
        f"ridge map of {channels:,} channels at {SIDE} px from streamed sums of {STREAMED} images",
        "all features, enlarged to the image, in float32",
        (features_gib * 960 / STREAMED / peak,),
        at_least=20,
        unit="memory, of 960 images",
        facts={"features of 960 images, GiB": round(features_gib * 960 / STREAMED, 1)},
        bounds={"peak beyond that of the libraries, GiB": (round(peak, 2), MOST_GIB)},
    )


def stream() -> None:
    """Solve a map from random features, and print the peak memory before and after in KiB."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random = torch.Generator().manual_seed(0)
    sums = None
    for _ in range(STREAMED // 4):
        features = [torch.randn(4, CHANNELS, side, side, generator=random).relu() for side in (4, 8, 16, 32, SIDE)]
        maps = torch.randint(CATEGORIES, (4, SIDE, SIDE), generator=random)
        if sums is None:
            sums = FeatureSums.none(channel_scales([features]), SIDE, CATEGORIES)
        sums.add(features, maps)
    assert sums is not None
    seconds_of(lambda: ridge_weights(NormalEquations.of(sums)))
    print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
