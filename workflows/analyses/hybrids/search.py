"""Search for the best mixtures of a pair of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from cawa_core.class_metrics.realism import RealManifold, device_with_room
from cawa_core.hybrids.concepts import ConceptCounter
from cawa_core.hybrids.kinds import KINDS
from cawa_core.hybrids.mixtures import (
    Mixture,
    MixtureJudge,
    MixtureScores,
    Pair,
    Sweep,
    channel_mixtures,
    style_mixtures,
)
from workflows.lab import Lab


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
        concepts: pixels of each concept on the first held-out latents, as many as choose; None without a segmenter.
    """

    pair: Pair
    mixtures: Mapping[str, Mixture]
    sweeps: Mapping[str, Sweep]
    images: Mapping[str, Tensor]
    image_scores: Mapping[str, MixtureScores]
    scored: Mapping[str, MixtureScores]
    concepts: ConceptCounter | None


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
    concepts = None if lab.labeller is None else ConceptCounter(lab.labeller, choice.tried)
    held_out_scores = judge.scores_of(mixtures, scored, None if concepts is None else concepts.add)
    return Hybrid(pair, mixtures, sweeps, images, image_scores, held_out_scores, concepts)


def pictures_scored(lab: Lab, choice: Choice, pictures: int) -> int:
    """Count the pictures that :func:`hybrid` scores."""
    sites = lab.generator.sites
    effective = [np.arange(site.channels - len(site.inert_channels)) for site in sites]
    tried = channel_mixtures(lab.generator, effective.__getitem__, choice.sites, choice.numbers)
    n_tried = len(tried) + len(style_mixtures(lab.generator, choice.sites))
    return n_tried * choice.tried + len(KINDS) * (pictures + choice.scored)


def _judge(lab: Lab, pair: Pair, neighbours: int) -> MixtureJudge:
    judge = MixtureJudge(lab.generator, lab.evaluator, pair, batch_size=lab.batch_size)
    if lab.real_image_set is None:
        return judge
    role = "manifold_features"
    features = torch.cat([lab.real_features(class_id, (role,))[0][role] for class_id in pair])
    device = device_with_room(features, lab.generator.device)
    manifold = RealManifold.of(features.to(device), neighbours)
    return dataclasses.replace(judge, features=lab.networks[role], real_manifold=manifold)
