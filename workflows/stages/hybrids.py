"""Pictures between each class and some others, mixed in the best way of each kind (paper, Fig. 7)."""

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
"""Latents whose pictures are kept."""
CANDIDATES = "hybrid candidates"
"""Where a workbench remembers which classes may be mixed with others."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Among which mixtures the best are looked for, and on how many latents.

    Attributes:
        tried, scored: latents that choose, and others that score what was chosen.
        sites, numbers: see :func:`channel_mixtures`.
    """

    tried: int
    scored: int
    sites: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Hybrid:
    """One pair of classes: by kind, mixture, pictures of the first latents ``[n, C, H, W]``, and scores of both.

    Attributes:
        pair: the classes.
        mixtures: the classes themselves, and the best mixture of each kind.
        sweeps: what all mixtures of a kind scored on the latents that chose, by kind; none of the classes themselves.
        images: of the first latents.
        shown: scores of these images.
        scored: scores on the latents that did not choose.
    """

    pair: Pair
    mixtures: Mapping[str, Mixture]
    sweeps: Mapping[str, Sweep]
    images: Mapping[str, Tensor]
    shown: Mapping[str, MixtureScores]
    scored: Mapping[str, MixtureScores]


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of the ``hybrids`` table; none where there is one class, or the generator cannot mix classes."""
    choice = Choice(bench.spec.hybrid_tried_latents, bench.spec.hybrid_latents)
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        for partner in partners(bench, class_id):
            rows += _rows(bench, hybrid(bench, (class_id, partner), choice, PICTURES), choice)
    return {"hybrids": rows_of("hybrids", rows)}


def partners(bench: Workbench, class_id: int) -> list[int]:
    """Other classes, drawn at random of all that the generator knows (and that have real images, if there are any).

    So the partners of a class do not depend on which other classes are in the audit.
    """
    others = [other for other in candidates(bench) if other != class_id]
    count = pairs_of_a_class(bench)
    drawn = random_generator(bench.spec.seed, class_id, 0, "hybrid").choice(len(others), count, replace=False)
    return sorted(int(others[place]) for place in drawn)


def candidates(bench: Workbench) -> list[int]:
    """Classes that others may be mixed with: all, or those with enough real images to measure realism by."""
    if bench.reals is None:
        return list(range(bench.generator.n_classes))
    key = (CANDIDATES, bench.spec.neighbours)
    if key not in bench.kept:
        least, reals = bench.spec.neighbours + 1, bench.reals
        every = range(bench.generator.n_classes)
        bench.kept[key] = [one for one in every if reals.has_class(one) and reals.count_of(one) >= least]
    classes: list[int] = bench.kept[key]
    return classes


def pairs_of_a_class(bench: Workbench) -> int:
    """With how many other classes each is mixed."""
    can_mix = bench.generator.mixes_classes and len(bench.generator.sites) > 1
    return min(bench.spec.hybrid_partners, len(candidates(bench)) - 1) if can_mix else 0


@torch.inference_mode()
def hybrid(
    bench: Workbench, pair: Pair, choice: Choice, pictures: int, progress: Callable[[int], None] | None = None
) -> Hybrid:
    """The best mixtures of a pair.

    Args:
        bench: of the models.
        pair: the classes.
        choice: among which mixtures.
        pictures: latents whose images are kept.
        progress: told how many pictures were scored, pass by pass: :func:`pictures_scored` in all.
    """
    judge, generator = dataclasses.replace(_judge(bench, pair), progress=progress), bench.generator
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
        kind: torch.cat([one.images(generator, rows, pair).cpu() for rows in z[:pictures].split(bench.batch_size)])
        for kind, one in mixtures.items()
    }
    shown = {kind: judge.scores(some.to(generator.device)) for kind, some in images.items()}
    means = {kind: judge.scores_of(one, scored) for kind, one in mixtures.items()}
    return Hybrid(pair, mixtures, sweeps, images, shown, means)


def pictures_scored(bench: Workbench, choice: Choice, pictures: int) -> int:
    """How many pictures :func:`hybrid` scores."""
    sites = bench.generator.sites
    effective = [np.arange(site.channels - len(site.inert_channels)) for site in sites]
    tried = channel_mixtures(bench.generator, effective.__getitem__, choice.sites, choice.numbers)
    n_tried = len(tried) + len(style_mixtures(bench.generator, choice.sites))
    return n_tried * choice.tried + len(KINDS) * (pictures + choice.scored)


def _judge(bench: Workbench, pair: Pair) -> MixtureJudge:
    own = MixtureJudge(bench.generator, bench.evaluator, pair, batch_size=bench.batch_size)
    if bench.reals is None:
        return own
    role = "manifold_features"
    features = torch.cat([real_features(bench, class_id, (role,))[0][role] for class_id in pair])
    device = device_with_room(features, bench.generator.device)
    reals = RealManifold.of(features.to(device), bench.spec.neighbours)
    return dataclasses.replace(own, features=bench.judges[role], reals=reals)


def _rows(bench: Workbench, one: Hybrid, choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "class_id": one.pair[0],
            "reference_id": one.pair[1],
            "kind": kind,
            "first_site": mixture.first_site,
            "sites": sorted(mixture.transplants),
            "k": max(map(len, mixture.transplants.values()), default=0),
            **_means(one.scored[kind]),
            "n_tried": choice.tried,
            "n_samples": choice.scored,
            "pngs": [to_png(image) for image in one.images[kind]],
            "protocol": bench.score_protocol,
        }
        for kind, mixture in one.mixtures.items()
    ]


def _means(scores: MixtureScores) -> dict[str, float | None]:
    """Means and standard errors over latents; None of what is not known."""
    known, found = scores.measures(), dict[str, float | None]()
    for name in MEASURES:
        values = known.get(name)
        found[name] = None if values is None else float(np.mean(values))
        found[f"{name}_stderr"] = None if values is None else standard_error(values)
    return found


def mixtures_tried(bench: Workbench) -> int:
    """How many ways to mix are tried for a pair, about."""
    return len(bench.generator.sites) * (len(FRACTIONS) + 1)


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """Half a pass for each picture that is tried, and up to two for each that is scored."""
    each = 0.5 * mixtures_tried(bench) * bench.spec.hybrid_tried_latents + 1.5 * len(KINDS) * bench.spec.hybrid_latents
    return each * pairs_of_a_class(bench)


def rows(bench: Workbench) -> int:
    """One a kind and partner."""
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
