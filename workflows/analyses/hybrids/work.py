"""Hybrids of each class with some other classes, by the best mixture of each kind (paper, Fig. 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.applications.mixtures import (
    FRACTIONS,
    KINDS,
    MEASURES,
    Mixture,
    MixtureJudge,
    MixtureScores,
    Pair,
    Sweep,
    channel_mixtures,
    style_mixtures,
)
from cawa_core.class_metrics.realism import RealManifold, device_with_room
from cawa_core.rendering.grids import to_png
from cawa_core.seeds import random_generator
from cawa_core.statistics.standard_errors import standard_error
from cawa_core.tables import Rows, rows_of
from workflows.real_features import real_features
from workflows.shards import Shard
from workflows.stages.base import Stage
from workflows.stages.masking import site_order
from workflows.workbench import Workbench

PICTURES = 4
"""Latents per pair of classes whose pictures are recorded."""
CANDIDATES = "hybrid candidates"
"""Key under which a workbench caches the classes that may be mixed with others."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Mixtures among which the best are searched for, and the latents that the search uses.

    Attributes:
        tried, scored: number of latents that choose the mixtures, and of held-out latents that score them.
        sites, numbers: see :func:`channel_mixtures`.
    """

    tried: int
    scored: int
    sites: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Hybrid:
    """Hybrids of one pair of classes; all mappings are by kind.

    Attributes:
        pair: the classes.
        mixtures: the two classes unmixed, and the best mixture of each kind.
        sweeps: scores of all mixtures of a kind on the latents that chose; the unmixed classes have none.
        images: pictures of the first latents ``[n, C, H, W]``.
        image_scores: scores of these images.
        scored: scores on the held-out latents.
    """

    pair: Pair
    mixtures: Mapping[str, Mixture]
    sweeps: Mapping[str, Sweep]
    images: Mapping[str, Tensor]
    image_scores: Mapping[str, MixtureScores]
    scored: Mapping[str, MixtureScores]


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of the ``hybrids`` table; empty if there is one class or the generator cannot mix classes."""
    choice = Choice(bench.spec.hybrid_tried_latents, bench.spec.hybrid_latents)
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        for partner in partners(bench, class_id):
            rows += _rows(bench, hybrid(bench, (class_id, partner), choice, PICTURES), choice)
    return {"hybrids": rows_of("hybrids", rows)}


def partners(bench: Workbench, class_id: int) -> list[int]:
    """Draw the classes that a class is mixed with, at random among all :func:`candidates`.

    The draw is over the generator's classes, so that it does not depend on which other classes are in the audit.
    """
    available = [other for other in candidates(bench) if other != class_id]
    count = pairs_of_a_class(bench)
    places = random_generator(bench.spec.seed, class_id, 0, "hybrid").choice(len(available), count, replace=False)
    return sorted(int(available[place]) for place in places)


def candidates(bench: Workbench) -> list[int]:
    """Return the classes that others may be mixed with: all, or those with enough real images to measure realism."""
    if bench.reals is None:
        return list(range(bench.generator.n_classes))
    key = (CANDIDATES, bench.spec.neighbours)
    if key not in bench.kept:
        minimum = bench.spec.neighbours + 1
        reals = bench.reals
        bench.kept[key] = [
            class_id
            for class_id in range(bench.generator.n_classes)
            if reals.has_class(class_id) and reals.count_of(class_id) >= minimum
        ]
    classes: list[int] = bench.kept[key]
    return classes


def pairs_of_a_class(bench: Workbench) -> int:
    """Return how many other classes each class is mixed with."""
    can_mix = bench.generator.mixes_classes and len(bench.generator.sites) > 1
    return min(bench.spec.hybrid_partners, len(candidates(bench)) - 1) if can_mix else 0


@torch.inference_mode()
def hybrid(
    bench: Workbench, pair: Pair, choice: Choice, pictures: int, progress: Callable[[int], None] | None = None
) -> Hybrid:
    """Find the best mixtures of a pair of classes.

    Args:
        bench: workbench with the models.
        pair: the classes.
        choice: mixtures to search, and latents to use.
        pictures: number of latents whose images are returned.
        progress: called after each pass with the number of pictures scored; :func:`pictures_scored` in total.
    """
    judge = dataclasses.replace(_judge(bench, pair), progress=progress)
    generator = bench.generator
    z = bench.latents(pair[0], max(choice.tried + choice.scored, pictures))
    tried, scored = z[: choice.tried], z[choice.tried : choice.tried + choice.scored]
    by_awareness = channel_mixtures(
        generator, lambda site: site_order(bench, pair[1], site), choice.sites, choice.numbers
    )
    sweeps = {
        "style_mixing": judge.sweep(style_mixtures(generator, choice.sites), tried),
        "channel_mixing": judge.sweep(by_awareness, tried),
    }
    mixtures = {"input": Mixture(len(generator.sites)), "reference": Mixture(0)}
    mixtures |= {kind: sweep.best for kind, sweep in sweeps.items()}
    images = {
        kind: torch.cat([mixture.images(generator, rows, pair).cpu() for rows in z[:pictures].split(bench.batch_size)])
        for kind, mixture in mixtures.items()
    }
    image_scores = {kind: judge.scores(rows.to(generator.device)) for kind, rows in images.items()}
    held_out_scores = {kind: judge.scores_of(mixture, scored) for kind, mixture in mixtures.items()}
    return Hybrid(pair, mixtures, sweeps, images, image_scores, held_out_scores)


def pictures_scored(bench: Workbench, choice: Choice, pictures: int) -> int:
    """Count the pictures that :func:`hybrid` scores."""
    sites = bench.generator.sites
    effective = [np.arange(site.channels - len(site.inert_channels)) for site in sites]
    tried = channel_mixtures(bench.generator, effective.__getitem__, choice.sites, choice.numbers)
    n_tried = len(tried) + len(style_mixtures(bench.generator, choice.sites))
    return n_tried * choice.tried + len(KINDS) * (pictures + choice.scored)


def _judge(bench: Workbench, pair: Pair) -> MixtureJudge:
    judge = MixtureJudge(bench.generator, bench.evaluator, pair, batch_size=bench.batch_size)
    if bench.reals is None:
        return judge
    role = "manifold_features"
    features = torch.cat([real_features(bench, class_id, (role,))[0][role] for class_id in pair])
    device = device_with_room(features, bench.generator.device)
    reals = RealManifold.of(features.to(device), bench.spec.neighbours)
    return dataclasses.replace(judge, features=bench.judges[role], reals=reals)


def _rows(bench: Workbench, hybrid: Hybrid, choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "class_id": hybrid.pair[0],
            "reference_id": hybrid.pair[1],
            "kind": kind,
            "first_site": mixture.first_site,
            "sites": sorted(mixture.transplants),
            "k": max(map(len, mixture.transplants.values()), default=0),
            **_means(hybrid.scored[kind]),
            "n_tried": choice.tried,
            "n_samples": choice.scored,
            "pngs": [to_png(image) for image in hybrid.images[kind]],
            "protocol": bench.score_protocol,
        }
        for kind, mixture in hybrid.mixtures.items()
    ]


def _means(scores: MixtureScores) -> dict[str, float | None]:
    """Return means and standard errors over latents; None where a measure is unknown."""
    measures = scores.measures()
    means = dict[str, float | None]()
    for name in MEASURES:
        values = measures.get(name)
        means[name] = None if values is None else float(np.mean(values))
        means[f"{name}_stderr"] = None if values is None else standard_error(values)
    return means


def mixtures_tried(bench: Workbench) -> int:
    """Return the approximate number of mixtures tried per pair."""
    return len(bench.generator.sites) * (len(FRACTIONS) + 1)


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """Estimate the work: half a pass per picture tried, and up to two per picture scored."""
    tried = 0.5 * mixtures_tried(bench) * bench.spec.hybrid_tried_latents
    scored = 1.5 * len(KINDS) * bench.spec.hybrid_latents
    return (tried + scored) * pairs_of_a_class(bench)


def rows(bench: Workbench) -> int:
    """Count the rows of a class: one per kind and partner."""
    return len(KINDS) * pairs_of_a_class(bench)


HYBRIDS = Stage(
    "hybrids",
    by_site=False,
    classes_per_shard=1,
    passes=passes,
    process=process,
    rows=rows,
    pictures=lambda bench: rows(bench) * PICTURES,
    reads_classes=partners,
)
