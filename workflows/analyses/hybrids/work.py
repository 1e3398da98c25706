"""Hybrids of each class with some other classes, by the best mixture of each kind (paper, Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.hybrids.kinds import KINDS
from cawa_core.hybrids.mixtures import MEASURES, MixtureScores
from cawa_core.rendering.pixels import to_png
from cawa_core.statistics.standard_errors import standard_error
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.hybrids import (
    HYBRID_CONCEPTS_TABLE,
    HYBRID_MIXTURES_TABLE,
    HYBRID_PREDICTIONS_TABLE,
    HYBRIDS,
    HYBRIDS_TABLE,
    HybridOptions,
)
from workflows.analyses.hybrids.cost import class_seconds, mixtures_tried
from workflows.analyses.hybrids.partners import pairs_of_a_class, partners
from workflows.analyses.hybrids.search import Choice, Hybrid, hybrid
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.lab.real_check import require_real_images
from workflows.planning.shards import Shard

PICTURES = 4
"""Latents per pair of classes whose pictures are recorded."""


class HybridsWork(Work[HybridOptions]):
    """Computation of the tables of the analysis ``hybrids``."""

    def check(self, lab: Lab, options: HybridOptions) -> None:
        """Check that there are enough real images, if there are any."""
        if lab.real_image_set is not None:
            require_real_images(lab, options.neighbours)

    def classes_read(self, lab: Lab, options: HybridOptions, class_id: int) -> Sequence[int]:
        """Return the classes that a class is mixed with."""
        return partners(lab, options, class_id)

    def run(self, lab: Lab, options: HybridOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Mix some classes; there are no rows if there is one class or the generator cannot mix classes."""
        choice = Choice(options.hybrid_tried_latents, options.hybrid_scored_latents, options.neighbours)
        rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in HYBRIDS.tables}
        for class_id in shard.class_ids:
            for partner in partners(lab, options, class_id):
                mixed = hybrid(lab, (class_id, partner), choice, PICTURES)
                rows[HYBRIDS_TABLE.name] += _rows(lab, mixed, choice)
                rows[HYBRID_PREDICTIONS_TABLE.name] += _prediction_rows(mixed)
                rows[HYBRID_MIXTURES_TABLE.name] += _mixture_rows(mixed)
                rows[HYBRID_CONCEPTS_TABLE.name] += _concept_rows(mixed)
        return Output({name: rows_of(name, records) for name, records in rows.items()})

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


def _rows(lab: Lab, hybrid: Hybrid, choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "class_id": hybrid.pair[0],
            "reference_id": hybrid.pair[1],
            "kind": kind,
            "first_site": mixture.first_site,
            "sites": sorted(mixture.transplants),
            "k": mixture.most_channels,
            **_means(hybrid.scored[kind]),
            "n_tried": choice.tried,
            "n_samples": choice.scored,
            "pngs": [to_png(image) for image in hybrid.images[kind]],
            "protocol": lab.score_protocol,
        }
        for kind, mixture in hybrid.mixtures.items()
    ]


def _prediction_rows(hybrid: Hybrid) -> list[dict[str, Any]]:
    """Count the held-out images of each kind by the class that the evaluator assigns them to."""
    key = {"class_id": hybrid.pair[0], "reference_id": hybrid.pair[1]}
    return [
        {**key, "kind": kind, **counts}
        for kind, scores in hybrid.scored.items()
        for counts in _counts(scores.predicted)
    ]


def _mixture_rows(hybrid: Hybrid) -> list[dict[str, Any]]:
    """Count the images of every mixture that was tried by the class that the evaluator assigns them to."""
    key = {"class_id": hybrid.pair[0], "reference_id": hybrid.pair[1]}
    return [
        {**key, "kind": kind, "first_site": mixture.first_site, "k": mixture.most_channels, **counts}
        for kind, sweep in hybrid.sweeps.items()
        for mixture, predicted in zip(sweep.mixtures, sweep.predicted, strict=True)
        for counts in _counts(predicted)
    ]


def _counts(predicted: NDArray[np.int64]) -> list[dict[str, int]]:
    classes, counts = np.unique(predicted, return_counts=True)
    return [
        {"predicted_class": int(class_id), "n_images": int(count)}
        for class_id, count in zip(classes, counts, strict=True)
    ]


def _concept_rows(hybrid: Hybrid) -> list[dict[str, Any]]:
    """Return the pixels of each kind by concept; none without a segmenter."""
    counter = hybrid.concepts
    if counter is None:
        return []
    return [
        {
            "class_id": hybrid.pair[0],
            "reference_id": hybrid.pair[1],
            "kind": kind,
            "concept": concept,
            "pixels": counts.pixels[place],
            "input_pixels": counter.totals["input"].pixels[place],
            "reference_pixels": counter.totals["reference"].pixels[place],
            "input_shared": counts.input_shared[place],
            "reference_shared": counts.reference_shared[place],
            "n_samples": counter.n_latents,
        }
        for kind, counts in counter.totals.items()
        for place, concept in enumerate(counter.segmenter.concepts)
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
