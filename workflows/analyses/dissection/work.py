"""Computation of the table ``dissection``: units against concepts in the images of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cawa_core.dissection.counts import IMAGES_PERMUTED, intersection_over_union
from cawa_core.dissection.dissect import SiteThresholds, UnitOverlaps, choose_thresholds, unit_overlaps
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of, spread_classes
from cawa_core.numerics.seeds import SHARED_CLASS
from cawa_core.segmenters.base import concept_masks
from cawa_core.tables import Manifest
from workflows.analyses.dissection import DISSECTION_TABLE, DissectionOptions, ThresholdOptions
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

FEWEST_LATENTS = 2
"""Label maps of fewer images cannot be exchanged."""
TIMED_LATENTS = 8
"""Images that a plan times."""

Columns = dict[str, NDArray[Any]]


class DissectionWork(Work[DissectionOptions]):
    """Computation of the table ``dissection``."""

    def check_options(self, options: DissectionOptions) -> None:
        """Check that there are images to choose thresholds on, and label maps to exchange."""
        for name in ("dissection_latents", "dissection_threshold_latents"):
            if getattr(options, name) < FEWEST_LATENTS:
                raise InputError(f"{name} must be at least {FEWEST_LATENTS}; got {getattr(options, name)}")

    @torch.inference_mode()
    def check(self, lab: Lab, options: DissectionOptions) -> None:  # noqa: ARG002
        """Check that the segmenter finds any concept in a few images of the generator."""
        z = lab.generator.sample_latents(lab.spec.seed, SHARED_CLASS, range(TIMED_LATENTS))
        images = lab.generator(z, spread_over_classes(lab, TIMED_LATENTS))
        if not bool(concept_masks(lab.segmenter, images).any()):
            raise InputError(
                f"segmenter {lab.segmenter.name} finds none of its {len(lab.segmenter.concepts)} concepts in "
                f"{TIMED_LATENTS} images of {lab.generator.name}; choose another --segmenter"
            )

    def run(self, lab: Lab, options: DissectionOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some classes."""
        thresholds = thresholds_of(lab, options)
        parts = []
        for class_id in shard.class_ids:
            z = lab.latents(class_id, options.dissection_latents)
            ids = class_ids_of(class_id, z)
            batch = min(lab.batch_size, IMAGES_PERMUTED)
            by_site = unit_overlaps(lab.generator, lab.segmenter, z, ids, thresholds, batch_size=batch)
            parts += [
                overlap_rows(class_id, site, overlaps, lab.segmenter.concepts)
                for site, overlaps in zip(thresholds, by_site, strict=True)
            ]
        names = DISSECTION_TABLE.columns
        return Output({DISSECTION_TABLE.name: {name: np.concatenate([part[name] for part in parts]) for name in names}})

    def cost(self, lab: Lab, options: DissectionOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: images, and rows if every class has every concept."""
        units = sum(site.channels for site in lab.generator.sites)
        return Cost(float(options.dissection_latents), units * len(lab.segmenter.concepts))

    def pace(self, lab: Lab, options: DissectionOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time the thresholds and counts of a few images."""
        z = lab.latents(lab.class_ids[0], TIMED_LATENTS)
        ids = class_ids_of(lab.class_ids[0], z)
        sites = range(len(lab.generator.sites))
        chosen = choose_thresholds(lab.generator, lab.segmenter, z, ids, sites)
        choosing = seconds(lambda: choose_thresholds(lab.generator, lab.segmenter, z, ids, sites), False)
        counting = seconds(lambda: unit_overlaps(lab.generator, lab.segmenter, z, ids, chosen), False)
        return {"threshold image": choosing / TIMED_LATENTS, "counted image": counting / TIMED_LATENTS}

    def seconds(self, lab: Lab, options: DissectionOptions, shard: Shard, pace: Pace) -> float:
        """Predict seconds: those of the images of the classes, and a share of those that every process spends once."""
        once = options.dissection_threshold_latents * pace["threshold image"] / len(lab.class_ids)
        return len(shard.class_ids) * (once + options.dissection_latents * pace["counted image"])


def thresholds_of(lab: Lab, options: ThresholdOptions) -> list[SiteThresholds]:
    """Return the thresholds of all units; they do not depend on the classes of the audit, and are computed once."""
    count = options.dissection_threshold_latents
    rule = options.dissection_thresholds

    def compute() -> list[SiteThresholds]:
        z = lab.generator.sample_latents(lab.spec.seed, SHARED_CLASS, range(count))
        sites = range(len(lab.generator.sites))
        batch = min(lab.batch_size, IMAGES_PERMUTED)
        return choose_thresholds(
            lab.generator, lab.segmenter, z, spread_over_classes(lab, count), sites, rule=rule, batch_size=batch
        )

    return lab.memo.once(("thresholds of units", lab.segmenter.digest, lab.spec.seed, count, rule), compute)


def spread_over_classes(lab: Lab, count: int) -> torch.Tensor:
    """Return classes of the generator, evenly spread over all of them: int64 ``[count]``."""
    return spread_classes(count, lab.generator.n_classes, lab.generator.device)


def overlap_rows(class_id: int, site: SiteThresholds, overlaps: UnitOverlaps, concepts: tuple[str, ...]) -> Columns:
    """Return the rows of ``dissection`` of a class and site as columns: every unit with every concept."""
    n_units, n_concepts = overlaps.on.shape
    present = np.broadcast_to(overlaps.present, (n_units, n_concepts))
    chance = overlaps.chance.mean
    with np.errstate(invalid="ignore"):
        by_chance = chance / (overlaps.on + present - chance)
    values: Columns = {
        "threshold": site.values,
        "on": overlaps.on,
        "present": present,
        "both": overlaps.both,
        "both_by_chance": chance,
        "both_by_chance_variance": overlaps.chance.variance,
        "both_by_chance_third_moment": overlaps.chance.third_moment,
        "iou": intersection_over_union(overlaps.on, present, overlaps.both),
        "iou_by_chance": by_chance,
    }
    rows = n_units * n_concepts
    return {
        "class_id": np.full(rows, class_id, np.int32),
        "site": np.full(rows, overlaps.site, np.int16),
        "channel": np.repeat(np.arange(n_units, dtype=np.int32), n_concepts),
        "concept": np.tile(np.array(concepts, dtype=object), n_units),
        **{name: np.ravel(part) for name, part in values.items()},
        "pixels": np.full(rows, overlaps.pixels, np.int64),
    }
