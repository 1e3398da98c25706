"""Precision of the channels and latent dimensions that ticked images share, against the labels of ``scenes``.

In each class and for each label, the eight of 64 images that show most of the label are ticked, as a user would who
wants more of it. A channel that they share is right if the area of the label, as the world labels it, is larger with
the channel on the side of the positives than on the other side: doubled or removed, over latents that chose nothing. A
latent dimension is right if its effect on the label over all classes is significant and has the sign of the positives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale, sweep
from cawa_core.numerics.seeds import random_generator
from cawa_core.segmenters.base import concept_masks
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.pooling import pooled, rise_p_value
from cawa_core.statistics.verdicts import SIGNIFICANT
from workflows.analyses.directions.positives import ChannelRank, shared_channels, shared_dimensions
from workflows.analyses.latents import LatentOptions
from workflows.analyses.latents.measurements import (
    FIRST_OBSERVED,
    concept_deviation,
    observed_scores,
    responses_of,
)
from workflows.lab import Lab
from workflows.results.class_resamples import ClassResamples

Array = NDArray[np.float64]

OPTIONS = LatentOptions(latent_concepts=("areas",), latent_spaces=("latent",))
TICKED, LISTED, LISTED_DIMENSIONS = 8, 10, 5
"""Images that are ticked; channels and dimensions that are listed."""
RANDOM_CHANNELS = 60
HELD_OUT = 8
"""Latents in whose images channels are doubled and removed."""

Unit = tuple[int, int]
"""Site and channel."""


def positive_table() -> str:
    """Return the precision of listed channels and dimensions as a Markdown table, with 95% intervals over classes."""
    lab = Lab.open("scenes-biggan", needs=("evaluator", "segmenter"))
    rows = pd.DataFrame([row for class_id in lab.class_ids for row in class_rows(lab, class_id)])
    dimensions = pd.DataFrame(dimension_rows(lab, lab.class_ids))
    lines = ["| label | classes | channels listed | random channels | dimensions listed | all dimensions |"]
    lines += ["|---|---|---|---|---|---|"]
    for label in [*dict.fromkeys(rows.label), "all"]:
        parts = [each if label == "all" else each[each.label == label] for each in (rows, dimensions)]
        by_class = [part.groupby("class_id")[["listed", "chance"]].mean() for part in parts]
        cells = [_words(each, name) for each in by_class for name in ("listed", "chance")]
        lines.append(f"| {label} | {len(by_class[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def class_rows(lab: Lab, class_id: int) -> list[dict[str, float | str | int]]:
    """Return the share of right channels among those listed and among random ones, for each label of a class."""
    scores = observed_scores(lab, OPTIONS, class_id)[1]
    deviation = concept_deviation(lab, OPTIONS, class_id)
    labels = [place for place in range(len(deviation)) if deviation[place] > 0]
    sites = lab.generator.sites
    reaching = [(site.index, c) for site in sites for c in range(site.channels) if c not in site.inert_channels]
    random = random_generator(lab.spec.seed, class_id, 0, "random channels")
    chance = [reaching[place] for place in random.choice(len(reaching), RANDOM_CHANNELS, replace=False)]
    listed = {place: _listed(lab, class_id, scores[:, place]) for place in labels}
    units = {*chance, *((rank.site, rank.channel) for ranks in listed.values() for rank in ranks)}
    p_values = _rise_p_values(lab, class_id, sorted(units))
    return [
        {
            "class_id": class_id,
            "label": lab.segmenter.concepts[place],
            "listed": float(np.mean([_is_right(p_values, rank, place) for rank in listed[place]])),
            "chance": float(np.mean([p_values[unit][:, place] <= SIGNIFICANT for unit in chance])),
        }
        for place in labels
    ]


def _listed(lab: Lab, class_id: int, areas: Array) -> list[ChannelRank]:
    """Return the channels that the images with the largest areas share."""
    z = lab.generator.sample_latents(lab.spec.seed, class_id, _positives(areas))
    return shared_channels(lab, class_id, z)[:LISTED]


def _positives(areas: Array) -> list[int]:
    """Return the indices of the latents of the images with the largest areas."""
    return [FIRST_OBSERVED + int(place) for place in np.argsort(-areas, kind="stable")[:TICKED]]


def _is_right(p_values: Mapping[Unit, Array], rank: ChannelRank, label: int) -> bool:
    """Return whether the label grows towards the positives: with the channel doubled if their thresholds are high."""
    return bool(p_values[rank.site, rank.channel][0 if rank.mean > 0 else 1, label] <= SIGNIFICANT)


@torch.inference_mode()
def _rise_p_values(lab: Lab, class_id: int, units: Sequence[Unit]) -> dict[Unit, Array]:
    """Return the p-value that each label grows with the doubled channel, and with the removed one ``[2, labels]``."""
    z = lab.latents(class_id, HELD_OUT)
    ids = class_ids_of(class_id, z)
    variants = [(Intervention(site, (channel,), Scale(factor)),) for site, channel in units for factor in (2.0, 0.0)]
    areas: dict[int, Array] = {}
    for places, images in sweep(lab.generator, z, ids, variants, lab.batch_size):
        parts = [concept_masks(lab.segmenter, batch).float().mean(dim=(2, 3)) for batch in images.split(lab.batch_size)]
        by_variant = torch.cat(parts).double().numpy().reshape(len(places), len(z), -1)
        areas |= dict(zip(places, by_variant, strict=True))
    p_values = {}
    for number, unit in enumerate(units):
        difference = areas[2 * number] - areas[2 * number + 1]
        both = [[rise_p_value(sign * column) for column in difference.T] for sign in (1, -1)]
        p_values[unit] = np.array(both)
    return p_values


def dimension_rows(lab: Lab, class_ids: Sequence[int]) -> list[dict[str, float | str | int]]:
    """Return the share of right dimensions among those listed and among all, for each label of each class."""
    answers = [responses_of(lab, OPTIONS, class_id) for class_id in class_ids]
    effect, stderr = (
        np.stack([getattr(each.effects, name) for each in answers]) for name in ("effect", "effect_stderr")
    )
    mean, _, p_value = pooled(effect, stderr, np.full(len(class_ids), OPTIONS.latent_samples))
    is_moving = adjusted(p_value.ravel()).reshape(p_value.shape) <= SIGNIFICANT
    rows: list[dict[str, float | str | int]] = []
    for class_id in class_ids:
        scores = observed_scores(lab, OPTIONS, class_id)[1]
        deviation = concept_deviation(lab, OPTIONS, class_id)
        for place, label in enumerate(lab.segmenter.concepts):
            if not (deviation[place] > 0 and is_moving[:, place].any()):
                continue
            z = lab.generator.sample_latents(lab.spec.seed, class_id, _positives(scores[:, place]))
            result = shared_dimensions(lab, z)
            best = result.order[:LISTED_DIMENSIONS]
            right = is_moving[best, place] & (np.sign(result.mean[best]) == np.sign(mean[best, place]))
            chance = float(is_moving[:, place].mean() / 2)  # a random sign is right half the time
            rows.append({"class_id": class_id, "label": label, "listed": float(right.mean()), "chance": chance})
    return rows


def _words(by_class: pd.DataFrame, name: str) -> str:
    if by_class.empty:
        return "–"
    means = ClassResamples(0, 2000).means(by_class[[name]])
    interval = means[f"{name}_ci"]
    span = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return f"{means[name]:.2f}{span}"
