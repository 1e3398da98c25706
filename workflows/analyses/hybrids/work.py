"""Hybrids of each class with some other classes, by the best mixture of each kind (paper, Fig. 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.class_metrics.realism import BLOCK_ROWS, RealManifold, device_with_room
from cawa_core.generators.base import class_ids_of
from cawa_core.hybrids.mixtures import (
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
from cawa_core.numerics.seeds import random_generator
from cawa_core.rendering.grids import to_png
from cawa_core.statistics.standard_errors import standard_error
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.base import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.analyses.hybrids import HYBRIDS, HYBRIDS_TABLE, HybridOptions
from workflows.lab import Lab
from workflows.lab.memo import Memo
from workflows.lab.real_check import require_real_images
from workflows.planning.shards import Shard

PICTURES = 4
"""Latents per pair of classes whose pictures are recorded."""
LARGEST_SHARE, LONGEST_SECONDS = 3 / 8, 20.0
"""Largest share of a class's latents, and approximate limit of seconds, that a plan times."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Mixtures among which the best are searched for, and the latents that the search uses.

    Attributes:
        tried, scored: number of latents that choose the mixtures, and of held-out latents that score them.
        neighbours: k of the nearest neighbours in realism.
        sites, numbers: see :func:`channel_mixtures`.
    """

    tried: int
    scored: int
    neighbours: int
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


class HybridsWork(Work[HybridOptions]):
    """Computation of the table ``hybrids``."""

    def check(self, lab: Lab, options: HybridOptions) -> None:
        """Check that there are enough real images, if there are any."""
        if lab.reals is not None:
            require_real_images(lab, options.neighbours)

    def classes_read(self, lab: Lab, options: HybridOptions, class_id: int) -> Sequence[int]:
        """Return the classes that a class is mixed with."""
        return partners(lab, options, class_id)

    def run(self, lab: Lab, options: HybridOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Mix some classes; there are no rows if there is one class or the generator cannot mix classes."""
        choice = Choice(options.hybrid_tried_latents, options.hybrid_scored_latents, options.neighbours)
        rows: list[dict[str, Any]] = []
        for class_id in shard.class_ids:
            for partner in partners(lab, options, class_id):
                rows += _rows(lab, hybrid(lab, (class_id, partner), choice, PICTURES), choice)
        return Output({HYBRIDS_TABLE.name: rows_of(HYBRIDS_TABLE.name, rows)})

    def cost(self, lab: Lab, options: HybridOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: half a pass per picture tried, and up to two per picture scored.

        There is a row per kind and partner.
        """
        tried = 0.5 * mixtures_tried(lab) * options.hybrid_tried_latents
        scored = 1.5 * len(KINDS) * options.hybrid_scored_latents
        n_pairs = pairs_of_a_class(lab, options)
        rows = len(KINDS) * n_pairs
        return Cost((tried + scored) * n_pairs, rows, rows * PICTURES)

    def pace(self, lab: Lab, options: HybridOptions, image: float, seconds: Stopwatch) -> Pace | None:
        """Time one class, because passes do not cover projections and distances; see :func:`class_seconds`."""
        if not self.cost(lab, options, lab.class_ids[0], ()).passes:
            return {"class": 0.0}
        measured = class_seconds(self, lab, options, image, seconds) if lab.is_affine else None
        return None if measured is None else {"class": measured}

    def seconds(self, lab: Lab, options: HybridOptions, shard: Shard, pace: Pace) -> float:  # noqa: ARG002
        """Predict seconds from those of a class."""
        return len(shard.class_ids) * pace["class"]


def partners(lab: Lab, options: HybridOptions, class_id: int) -> list[int]:
    """Draw the classes that a class is mixed with, at random among all :func:`candidates`.

    The draw is over the generator's classes, so that it does not depend on which other classes are in the audit.
    """
    available = [other for other in candidates(lab, options.neighbours) if other != class_id]
    count = pairs_of_a_class(lab, options)
    places = random_generator(lab.spec.seed, class_id, 0, "hybrid").choice(len(available), count, replace=False)
    return sorted(int(available[place]) for place in places)


def candidates(lab: Lab, neighbours: int) -> list[int]:
    """Return the classes that others may be mixed with: all, or those with enough real images to measure realism."""
    if lab.reals is None:
        return list(range(lab.generator.n_classes))
    reals = lab.reals
    minimum = neighbours + 1

    def compute() -> list[int]:
        return [
            class_id
            for class_id in range(lab.generator.n_classes)
            if reals.has_class(class_id) and reals.count_of(class_id) >= minimum
        ]

    return lab.memo.once(("classes with real images", reals.name, minimum), compute)


def pairs_of_a_class(lab: Lab, options: HybridOptions) -> int:
    """Return how many other classes each class is mixed with."""
    can_mix = lab.generator.mixes_classes and len(lab.generator.sites) > 1
    return min(options.hybrid_partners, len(candidates(lab, options.neighbours)) - 1) if can_mix else 0


@torch.inference_mode()
def hybrid(
    lab: Lab, pair: Pair, choice: Choice, pictures: int, progress: Callable[[int], None] | None = None
) -> Hybrid:
    """Find the best mixtures of a pair of classes.

    Args:
        lab: lab with the models.
        pair: the classes.
        choice: mixtures to search, and latents to use.
        pictures: number of latents whose images are returned.
        progress: called after each pass with the number of pictures scored; :func:`pictures_scored` in total.
    """
    judge = dataclasses.replace(_judge(lab, pair, choice.neighbours), progress=progress)
    generator = lab.generator
    z = lab.latents(pair[0], max(choice.tried + choice.scored, pictures))
    tried, scored = z[: choice.tried], z[choice.tried : choice.tried + choice.scored]
    by_awareness = channel_mixtures(
        generator, lambda site: lab.channel_order(pair[1], site), choice.sites, choice.numbers
    )
    sweeps = {
        "style_mixing": judge.sweep(style_mixtures(generator, choice.sites), tried),
        "channel_mixing": judge.sweep(by_awareness, tried),
    }
    mixtures = {"input": Mixture(len(generator.sites)), "reference": Mixture(0)}
    mixtures |= {kind: sweep.best for kind, sweep in sweeps.items()}
    images = {
        kind: torch.cat([mixture.images(generator, rows, pair).cpu() for rows in z[:pictures].split(lab.batch_size)])
        for kind, mixture in mixtures.items()
    }
    image_scores = {kind: judge.scores(rows.to(generator.device)) for kind, rows in images.items()}
    held_out_scores = {kind: judge.scores_of(mixture, scored) for kind, mixture in mixtures.items()}
    return Hybrid(pair, mixtures, sweeps, images, image_scores, held_out_scores)


def pictures_scored(lab: Lab, choice: Choice, pictures: int) -> int:
    """Count the pictures that :func:`hybrid` scores."""
    sites = lab.generator.sites
    effective = [np.arange(site.channels - len(site.inert_channels)) for site in sites]
    tried = channel_mixtures(lab.generator, effective.__getitem__, choice.sites, choice.numbers)
    n_tried = len(tried) + len(style_mixtures(lab.generator, choice.sites))
    return n_tried * choice.tried + len(KINDS) * (pictures + choice.scored)


def _judge(lab: Lab, pair: Pair, neighbours: int) -> MixtureJudge:
    judge = MixtureJudge(lab.generator, lab.evaluator, pair, batch_size=lab.batch_size)
    if lab.reals is None:
        return judge
    role = "manifold_features"
    features = torch.cat([lab.real_features(class_id, (role,))[0][role] for class_id in pair])
    device = device_with_room(features, lab.generator.device)
    reals = RealManifold.of(features.to(device), neighbours)
    return dataclasses.replace(judge, features=lab.networks[role], reals=reals)


def _rows(lab: Lab, hybrid: Hybrid, choice: Choice) -> list[dict[str, Any]]:
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
            "protocol": lab.score_protocol,
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
    without_reals = dataclasses.replace(lab, reals=None, memo=Memo())
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
        return seconds(lambda: work.run(without_reals, latents, shard, None), False)

    measured(smaller[0])
    times = [measured(latents) for latents in smaller]
    slope = max(0.0, times[-1] - times[0]) / (counts[-1] - counts[0]) if len(counts) > 1 else 0.0
    return times[-1] + slope * (passes - counts[-1]) + _realism_seconds(lab, options, class_id, seconds)


def _realism_seconds(lab: Lab, options: HybridOptions, class_id: int, seconds: Stopwatch) -> float:
    """Time the realism of one class's hybrids: features of their pictures, distances to both classes' real images."""
    if lab.reals is None:
        return 0.0
    network = lab.networks["manifold_features"]
    z = lab.latents(class_id, lab.batch_size)
    with torch.inference_mode():
        images = lab.generator(z, class_ids_of(class_id, z))
        width = network.features(images[:1]).shape[1]
        scoring = seconds(lambda: network.features(images).float().cpu(), True) / len(images)
    reals = torch.randn(2 * lab.reals.count_of(class_id), width, generator=torch.Generator().manual_seed(0))
    manifold = RealManifold.of(reals, options.neighbours)
    fitting = seconds(lambda: RealManifold.of(reals, options.neighbours), False)
    fakes = reals[:BLOCK_ROWS] + 1
    scoring += seconds(lambda: manifold.realism(fakes), True) / len(fakes)
    pictures = mixtures_tried(lab) * options.hybrid_tried_latents + len(KINDS) * options.hybrid_scored_latents
    return pairs_of_a_class(lab, options) * (fitting + pictures * scoring)
