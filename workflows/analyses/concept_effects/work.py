"""Computation of the table ``concept_effects``: units of a concept removed and inserted, class by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.dissection.concept_effects import PerSite, free_squares, mean_features, optimised_weights, pixels_with
from cawa_core.dissection.removal import Unit as Channel
from cawa_core.dissection.removal import areas_without
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.segmenters.base import concept_masks
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.concept_effects import (
    AWARE,
    CONCEPT_EFFECTS_TABLE,
    CONCEPT_UNITS_TABLE,
    INSERTION,
    INSERTION_CONTEXTS_TABLE,
    OPTIMISED,
    OVERLAP,
    RANDOM,
    REMOVAL,
    ConceptEffectOptions,
)
from workflows.analyses.dissection.work import spread_over_classes, thresholds_of
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

FEWEST_SHOWN = 16
"""Images of the sample that must show a concept, for units to be chosen for it."""
MOST_SHOWN = 64
"""Images of the sample on which units are chosen."""
IMAGES_PER_STEP = 8
PASSES_PER_STEP = 6
"""Passes of the images of a step that take as long as the step: forward and back, with units removed and inserted."""
TIMED_LATENTS = 16
NONE = "none"
"""Name of the empty set of units."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ConceptSets:
    """Units of a concept, chosen on images of all classes of the generator.

    Attributes:
        values: mean features of every unit where the concept is, by site.
        overlap: IoU of every unit, by site.
        weights: weight of every unit in the optimised set, by site; None if nothing was optimised.
    """

    values: PerSite
    overlap: PerSite
    weights: PerSite | None

    @property
    def best(self) -> str:
        """The best ranking there is."""
        return OVERLAP if self.weights is None else OPTIMISED

    @property
    def rankings(self) -> dict[str, list[Channel]]:
        """All units in the order of each ranking by the concept; equal weights by overlap, equal overlaps by site."""
        rankings = {OVERLAP: ranked(self.overlap)}
        if self.weights is not None:
            return {OPTIMISED: ranked(self.weights, self.overlap), **rankings}
        return rankings


class ConceptEffectsWork(Work[ConceptEffectOptions]):
    """Computation of the table ``concept_effects``."""

    def check(self, lab: Lab, options: ConceptEffectOptions) -> None:
        """Check that the generator has as many units."""
        n_units = sum(site.channels for site in lab.generator.sites)
        most = max(*options.effect_sizes, options.effect_inserted)
        if most > n_units:
            raise InputError(
                f"effect_sizes and effect_inserted must be at most {n_units}, the units of {lab.generator.name}; got "
                f"{most}"
            )

    def units(self, lab: Lab, options: ConceptEffectOptions, class_id: int) -> Sequence[Unit]:  # noqa: ARG002
        """Return the concepts of the segmenter."""
        return [(concept,) for concept in lab.segmenter.concepts]

    def run(self, lab: Lab, options: ConceptEffectOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some concepts and classes."""
        effects: list[Row] = []
        contexts: list[Row] = []
        units: list[Row] = []
        for (concept,) in shard.units:
            sets = sets_of(lab, options, str(concept))
            if sets is None:
                continue
            for class_id in shard.class_ids:
                measured = _Measured(lab, options, str(concept), class_id, sets)
                effects += [*measured.removals(), *measured.insertions()]
                contexts += measured.contexts()
                units += measured.units()
        tables = (CONCEPT_EFFECTS_TABLE, effects), (INSERTION_CONTEXTS_TABLE, contexts), (CONCEPT_UNITS_TABLE, units)
        return Output({table.name: rows_of(table.name, rows) for table, rows in tables})

    def cost(self, lab: Lab, options: ConceptEffectOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate passes of images with changed units, and a share of the steps by which units are chosen."""
        rankings = 3 + options.effect_random_sets
        removed = 2 + (rankings - 2) / len(lab.segmenter.concepts)  # concepts share those that do not depend on them
        changed = options.effect_latents * (2 + removed * len(options.effect_sizes) + rankings)
        chosen = options.effect_steps * IMAGES_PER_STEP * PASSES_PER_STEP / len(lab.class_ids)
        return Cost(changed + chosen, rankings * (len(options.effect_sizes) + 1))

    def pace(self, lab: Lab, options: ConceptEffectOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time images under changes and their labels."""
        z = lab.latents(lab.class_ids[0], TIMED_LATENTS)
        ids = class_ids_of(lab.class_ids[0], z)
        measure = seconds(lambda: areas_without(lab.generator, lab.segmenter, z, ids, (), lab.batch_size), True)
        return {"labelled image": measure / TIMED_LATENTS}

    def seconds(self, lab: Lab, options: ConceptEffectOptions, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard."""
        passes = (
            self.cost(lab, options, class_id, unit).passes for class_id in shard.class_ids for unit in shard.units
        )
        return sum(passes) * pace["labelled image"]


class _Measured:
    """Effects of the units of a concept in the images of a class."""

    def __init__(self, lab: Lab, options: ConceptEffectOptions, concept: str, class_id: int, sets: ConceptSets) -> None:
        self.lab = lab
        self.options = options
        self.place = lab.segmenter.concepts.index(concept)
        self.key = {"class_id": class_id, "concept": concept}
        self.sets = sets
        self.z = lab.latents(class_id, options.effect_latents)
        self.ids = class_ids_of(class_id, self.z)
        with torch.inference_mode():
            masks = [
                concept_masks(lab.segmenter, lab.generator(rows, part)).cpu()
                for rows, part in zip(self.z.split(lab.batch_size), self.ids.split(lab.batch_size), strict=True)
            ]
        self.masks: NDArray[np.bool_] = torch.cat(masks).numpy()
        random = random_generator(lab.spec.seed, class_id, 0, f"squares without {concept}")
        self.squares = free_squares(self.masks[:, self.place], lab.generator, random)
        self.shared_rankings = _shared_rankings(lab, options, class_id)
        self.rankings = {**sets.rankings, **self.shared_rankings}

    def removals(self) -> list[Row]:
        """Return what is left of the concept without the first units of each ranking."""
        has_concept = self.masks[:, self.place].any(axis=(1, 2))
        if not has_concept.any():
            return []
        places = torch.from_numpy(np.flatnonzero(has_concept)).to(self.z.device)
        z, ids = self.z[places], self.ids[places]
        areas = _areas_left(self.lab, self.options, z, ids, self.sets.rankings)
        areas |= {key: area[has_concept] for key, area in self._left_by_shared_rankings().items()}
        looked_at = self.masks[has_concept, self.place]
        return [
            self._row(REMOVAL, ranking, size, looked_at.size, int(looked_at.sum()), area[:, self.place])
            for (ranking, size), area in areas.items()
        ]

    def _left_by_shared_rankings(self) -> dict[tuple[str, int], NDArray[np.int64]]:
        """Return what the rankings leave that all concepts share; a process computes it once for each class."""

        def remove() -> dict[tuple[str, int], NDArray[np.int64]]:
            return _areas_left(self.lab, self.options, self.z, self.ids, self.shared_rankings)

        key = (self.lab.segmenter.digest, self.key["class_id"], self.options)
        return self.lab.memo.once(("removal that concepts share", key), remove)

    def insertions(self) -> list[Row]:
        """Return how much of the concept appears in the squares with the first units of each ranking."""
        number = self.options.effect_inserted
        looked_at = int(self.squares.sum())
        return [
            self._row(INSERTION, ranking, number, looked_at, 0, counts) for ranking, counts in self._inserted.items()
        ]

    def contexts(self) -> list[Row]:
        """Return how much of the concept appears by what the square showed before."""
        if not self.squares.any():
            return []
        after = self._inserted[self.sets.best]
        has_square = self.squares.any(axis=(1, 2))
        shares = (self.masks & self.squares[:, None]).sum(axis=(2, 3))[has_square]
        sizes = self.squares.sum(axis=(1, 2))[has_square]
        rows = []
        for place in np.unique(shares.argmax(axis=1)[shares.any(axis=1)]):
            here = (shares.argmax(axis=1) == place) & shares.any(axis=1)
            counts = {"n_images": int(here.sum()), "pixels": int(sizes[here].sum()), "after": int(after[here].sum())}
            rows.append({**self.key, "context": self.lab.segmenter.concepts[place], **counts})
        return rows

    def units(self) -> list[Row]:
        """Return the units of the optimised set."""
        if self.sets.weights is None:
            return []
        rows = []
        for site, (weights, values) in enumerate(zip(self.sets.weights, self.sets.values, strict=True)):
            for channel in np.flatnonzero(weights.cpu().numpy() > 0):
                weight, value = float(weights[channel]), float(values[channel])
                unit = {"site": site, "channel": int(channel), "weight": weight, "inserted_value": value}
                rows.append({**self.key, **unit})
        return rows

    @cached_property
    def _inserted(self) -> dict[str, NDArray[np.int64]]:
        """Pixels of the concept in each image that has a square, with the first units of each ranking."""
        number = self.options.effect_inserted
        has_square = self.squares.any(axis=(1, 2))
        if not has_square.any():
            return {}
        places = torch.from_numpy(np.flatnonzero(has_square)).to(self.z.device)
        return pixels_with(
            self.lab.generator,
            self.lab.segmenter,
            self.z[places],
            self.ids[places],
            {ranking: order[:number] for ranking, order in self.rankings.items()},
            self.sets.values,
            self.squares[has_square],
            self.place,
            self.lab.batch_size,
        )

    def _row(self, change: str, ranking: str, n_units: int, pixels: int, before: int, after: NDArray[np.int64]) -> Row:
        is_random = ranking.startswith(RANDOM)
        return {
            **self.key,
            "change": change,
            "ranking": RANDOM if is_random else ranking,
            "draw": int(ranking.removeprefix(RANDOM)) if is_random else 0,
            "n_units": n_units,
            "n_images": len(after),
            "pixels": pixels,
            "before": before,
            "after": int(after.sum()),
        }


def _shared_rankings(lab: Lab, options: ConceptEffectOptions, class_id: int) -> dict[str, list[Channel]]:
    """Return the rankings that are the same for all concepts: by awareness of the class, and random ones."""
    by_awareness = ranked(awareness_of(lab, class_id))
    rankings = {AWARE: by_awareness}
    in_order = sorted(by_awareness)
    for draw in range(options.effect_random_sets):
        random = random_generator(lab.spec.seed, SHARED_CLASS, draw, "random units")
        rankings[f"{RANDOM}{draw}"] = [in_order[place] for place in random.permutation(len(in_order))]
    return rankings


def _areas_left(
    lab: Lab, options: ConceptEffectOptions, z: Tensor, ids: Tensor, rankings: Mapping[str, Sequence[Channel]]
) -> dict[tuple[str, int], NDArray[np.int64]]:
    """Return the pixels of each concept in each image without the first units of each ranking ``[n, concepts]``."""
    return {
        (ranking, size): areas_without(lab.generator, lab.segmenter, z, ids, units[:size], lab.batch_size)
        for ranking, units in rankings.items()
        for size in sorted(options.effect_sizes)
    }


def sets_of(lab: Lab, options: ConceptEffectOptions, concept: str) -> ConceptSets | None:
    """Choose the units of a concept on the images that thresholds are chosen on; None if too few of them show it.

    They do not depend on the classes of the audit.
    """
    key = ("units of a concept", concept, options)
    return lab.memo.once(key, lambda: _chosen_sets(lab, options, concept))


def _chosen_sets(lab: Lab, options: ConceptEffectOptions, concept: str) -> ConceptSets | None:
    place = lab.segmenter.concepts.index(concept)
    z, ids, has_concepts = _sample(lab, options.dissection_threshold_latents)
    has = torch.from_numpy(np.flatnonzero(has_concepts[:, place])[:MOST_SHOWN]).to(z.device)
    if len(has) < FEWEST_SHOWN:
        return None
    models = (lab.generator, lab.segmenter)
    batch = min(lab.batch_size, MOST_SHOWN)
    values = mean_features(*models, z[has], ids[has], place, batch)
    overlap = [torch.from_numpy(site.iou[:, place]).float().to(z.device) for site in thresholds_of(lab, options)]
    weights = None
    if options.effect_steps and lab.segmenter.has_probabilities:
        highest = max(float(part.max()) for part in overlap) or 1.0
        random = random_generator(lab.spec.seed, SHARED_CLASS, 0, f"set of units of {concept}")
        start = [part / highest for part in overlap]
        weights = optimised_weights(
            *models,
            z[has],
            ids[has],
            place,
            values,
            start,
            random,
            steps=options.effect_steps,
            images_per_step=IMAGES_PER_STEP,
            batch_size=batch,
        )
    return ConceptSets(values, overlap, weights)


@torch.inference_mode()
def _sample(lab: Lab, count: int) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
    """Return latents and classes of the sample, and which concepts each of its images shows ``[n, concepts]``."""
    z = lab.generator.sample_latents(lab.spec.seed, SHARED_CLASS, range(count))
    ids = spread_over_classes(lab, count)

    def concepts_of_images() -> NDArray[np.bool_]:
        parts = [
            concept_masks(lab.segmenter, lab.generator(rows, part)).flatten(2).any(dim=2).cpu()
            for rows, part in zip(z.split(lab.batch_size), ids.split(lab.batch_size), strict=True)
        ]
        return np.asarray(torch.cat(parts).numpy())

    return z, ids, lab.memo.once(("concepts that the sample shows", lab.segmenter.digest, count), concepts_of_images)


def awareness_of(lab: Lab, class_id: int) -> PerSite:
    """Return the size of every channel's category awareness of a class, by site."""
    return [
        torch.from_numpy(np.abs(lab.class_awareness((class_id,), site.index).category_awareness[0]))
        for site in lab.generator.sites
    ]


def ranked(values: PerSite, ties: PerSite | None = None) -> list[Channel]:
    """Return all units, those of the highest value first; equal values by another value, then by site and channel."""
    units = [(site, channel) for site, part in enumerate(values) for channel in range(len(part))]
    keys = [np.concatenate([part.cpu().numpy() for part in parts]) for parts in (ties or values, values)]
    return [units[place] for place in np.lexsort([-key for key in keys])]
