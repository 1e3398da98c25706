"""Computation of the tables ``artifact_units`` and ``artifact_removal``, class by class."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.moments import Moments, moments_of
from cawa_core.dissection.artifact_units import (
    BySite,
    artifact_scores,
    distances_by_chance,
    images_and_highest_features,
    worst_units,
)
from cawa_core.dissection.removal import Unit as Channel
from cawa_core.dissection.removal import by_site
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import masks_at, run
from cawa_core.numerics.arithmetic import full_precision
from cawa_core.numerics.seeds import random_generator
from cawa_core.segmenters.base import concept_masks
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.artifact_units import (
    ARTIFACT,
    ARTIFACT_REMOVAL_TABLE,
    ARTIFACT_UNITS_TABLE,
    NONE,
    RANDOM,
    ArtifactUnitOptions,
)
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.lab.real_check import require_real_images
from workflows.planning.shards import Shard

NEIGHBOURS = 3
"""k of the nearest neighbours in precision and recall (Kynkäänniemi et al. 2019)."""
DRAWS_BY_CHANCE = 20
FEATURES = "fid_features", "manifold_features"
"""Roles of the networks whose features are compared."""
TIMED_LATENTS = 16

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of a class, as networks see them.

    Attributes:
        features: features ``[n, d]`` by role, on the CPU.
        masks: where each concept is, bool ``[n, concepts, S, S]``, on the CPU.
    """

    features: dict[str, Tensor]
    masks: Tensor


class ArtifactUnitsWork(Work[ArtifactUnitOptions]):
    """Computation of the tables ``artifact_units`` and ``artifact_removal``."""

    def check(self, lab: Lab, options: ArtifactUnitOptions) -> None:  # noqa: ARG002
        """Check that there are enough real images for precision and recall."""
        require_real_images(lab, NEIGHBOURS)

    def run(self, lab: Lab, options: ArtifactUnitOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some classes."""
        units: list[Row] = []
        removals: list[Row] = []
        for class_id in shard.class_ids:
            real, _ = lab.real_features(class_id, FEATURES)
            with full_precision(lab.generator.device):
                moments = moments_of(real["fid_features"])
            chosen = _units(lab, options, class_id, moments)
            units += chosen
            artifacts = [(row["site"], row["channel"]) for row in chosen]
            removals += _removals(lab, options, class_id, artifacts, moments, real["manifold_features"])
        tables = (ARTIFACT_UNITS_TABLE, units), (ARTIFACT_REMOVAL_TABLE, removals)
        return Output({table.name: rows_of(table.name, rows) for table, rows in tables})

    def cost(self, lab: Lab, options: ArtifactUnitOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: images that find the units, and those of each set of removed ones."""
        sets = 1 + len(options.artifact_shares) * (1 + options.artifact_random_sets)
        passes = options.artifact_latents + options.artifact_scored_latents * sets
        return Cost(float(passes), max(numbers_removed(lab, options)) + sets)

    def pace(self, lab: Lab, options: ArtifactUnitOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time images as networks see them."""
        z = lab.latents(lab.class_ids[0], TIMED_LATENTS)
        return {"seen image": seconds(lambda: _images(lab, z, lab.class_ids[0], ()), True) / TIMED_LATENTS}

    def seconds(self, lab: Lab, options: ArtifactUnitOptions, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard."""
        passes = sum(self.cost(lab, options, class_id, ()).passes for class_id in shard.class_ids)
        return passes * pace["seen image"]


def numbers_removed(lab: Lab, options: ArtifactUnitOptions) -> list[int]:
    """Return how many units are removed together, ascending."""
    n_units = sum(site.channels for site in lab.generator.sites)
    return sorted({max(1, round(share * n_units)) for share in options.artifact_shares})


@torch.inference_mode()
def _units(lab: Lab, options: ArtifactUnitOptions, class_id: int, real: Moments) -> list[Row]:
    """Return the units of a class whose exciting images are farthest from the real ones, the worst first."""
    z = lab.latents(class_id, options.artifact_latents)
    ids = class_ids_of(class_id, z)
    parts = [
        (lab.networks["fid_features"].features(images).float().cpu(), by_site)
        for images, by_site in images_and_highest_features(lab.generator, z, ids, lab.batch_size)
    ]
    features = torch.cat([rows for rows, _ in parts])
    highest = [torch.cat(batches) for batches in zip(*(by_site for _, by_site in parts), strict=True)]
    random = random_generator(lab.spec.seed, class_id, 0, "images that excite units by chance")
    with full_precision(lab.generator.device):
        scores: BySite = artifact_scores(lab.generator, highest, features, real)
        by_chance = distances_by_chance(features, real, DRAWS_BY_CHANCE, random)
    return [
        {
            "class_id": class_id,
            "site": site,
            "channel": channel,
            "rank": place + 1,
            "fid": scores[site][channel],
            "fid_by_chance": float(by_chance.mean()),
            "fid_by_chance_std": float(by_chance.std(ddof=1)),
        }
        for place, (site, channel) in enumerate(worst_units(scores, max(numbers_removed(lab, options))))
    ]


def _removals(
    lab: Lab,
    options: ArtifactUnitOptions,
    class_id: int,
    artifacts: list[Channel],
    real: Moments,
    real_manifold: Tensor,
) -> list[Row]:
    """Return the quality of other images of the class without artifact units, and without random ones."""
    count = options.artifact_scored_latents
    z = lab.latents(class_id, options.artifact_latents + count)[options.artifact_latents :]
    every_unit = [(site.index, channel) for site in lab.generator.sites for channel in range(site.channels)]
    sets: dict[tuple[str, int, int], list[Channel]] = {(NONE, 0, 0): []}
    for number in numbers_removed(lab, options):
        sets[ARTIFACT, number, 0] = artifacts[:number]
        for draw in range(options.artifact_random_sets):
            random = random_generator(lab.spec.seed, class_id, draw, f"{number} random units beside artifact units")
            sets[RANDOM, number, draw] = [every_unit[place] for place in random.permutation(len(every_unit))[:number]]
    rows = []
    before: Tensor | None = None
    for (removed, number, draw), units in sets.items():
        images = _images(lab, z, class_id, units)
        before = images.masks if before is None else before
        rows.append(
            {
                "class_id": class_id,
                "removed": removed,
                "n_units": number,
                "draw": draw,
                "n_images": count,
                **_quality(lab, images, real, real_manifold),
                "changed": float((images.masks != before).any(dim=1).double().mean()),
                "protocol": _protocol(lab),
            }
        )
    return rows


def _quality(lab: Lab, images: Images, real: Moments, real_manifold: Tensor) -> dict[str, float]:
    """Return FID, precision and recall of images; the last two with equally many real and generated ones."""
    fake = images.features["manifold_features"]
    n = min(len(fake), len(real_manifold))
    with full_precision(lab.generator.device):
        manifold = manifold_metrics(real=real_manifold[:n], fake=fake[:n], neighbours=NEIGHBOURS)
        distance = frechet_distance(real=real, fake=images.features["fid_features"])
    return {"fid": distance, "precision": manifold.precision, "recall": manifold.recall}


@torch.inference_mode()
def _images(lab: Lab, z: Tensor, class_id: int, removed: list[Channel] | tuple[()]) -> Images:
    """Generate images of a class without some units, and show them to the networks and the segmenter."""
    changes = masks_at(by_site(removed))
    networks = {role: lab.networks[role] for role in FEATURES}
    features: dict[str, list[Tensor]] = {role: [] for role in networks}
    masks = []
    for rows in z.split(lab.batch_size):
        images = run(lab.generator, rows, class_ids_of(class_id, rows), changes)
        by_network = {network: network.features(images).float().cpu() for network in set(networks.values())}
        for role, network in networks.items():
            features[role].append(by_network[network])
        masks.append(concept_masks(lab.segmenter, images).cpu())
    return Images({role: torch.cat(parts) for role, parts in features.items()}, torch.cat(masks))


def _protocol(lab: Lab) -> str:
    networks = "; ".join(f"{role}: {lab.networks[role].protocol}" for role in FEATURES)
    return f"{networks}; k = {NEIGHBOURS}; {lab.segmenter.name}: {lab.segmenter.protocol}; {lab.arithmetic_name}"
