"""Awareness of every channel of one site for a block of classes, by each estimator."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cawa_core.awareness.monte_carlo import monte_carlo_awareness
from cawa_core.errors import InputError
from cawa_core.options import require_members
from cawa_core.tables import Manifest
from workflows.analyses.awareness import AWARENESS_TABLE, ESTIMATORS, AwarenessOptions
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

CLASSES_TIMED, SAMPLES_TIMED = 20, 500


class AwarenessWork(Work[AwarenessOptions]):
    """Computation of the table ``awareness``."""

    def check_options(self, options: AwarenessOptions) -> None:
        """Check that the estimators exist, and that each class has one."""
        require_members("awareness_estimators", options.awareness_estimators, ESTIMATORS)
        if options.monte_carlo_classes and "closed_form" not in options.awareness_estimators:
            raise InputError("monte_carlo_classes needs closed_form among awareness_estimators, for the other classes")

    def check(self, lab: Lab, options: AwarenessOptions) -> None:
        """Check that sites without a closed form are sampled."""
        for site in lab.generator.sites:
            if "monte_carlo" not in options.awareness_estimators and not lab.generator.is_affine(site.index):
                raise InputError(
                    f"awareness_estimators must hold monte_carlo: gain and offset of site {site.index} ({site.name}) "
                    f"are not affine in the latents; got {', '.join(options.awareness_estimators)}"
                )

    def units(self, lab: Lab, options: AwarenessOptions, class_id: int) -> Sequence[Unit]:  # noqa: ARG002
        """Return the sites."""
        return [(site.index,) for site in lab.generator.sites]

    def run(self, lab: Lab, options: AwarenessOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some classes and sites."""
        parts = [
            _rows(lab, options, class_ids, site, estimator)
            for site in shard.sites
            for estimator in options.awareness_estimators
            if (class_ids := estimated_classes(lab, options, shard.class_ids, site, estimator))
        ]
        return Output(
            {AWARENESS_TABLE.name: {name: pa.chunked_array([part[name] for part in parts]) for name in parts[0]}}
        )

    def cost(self, lab: Lab, options: AwarenessOptions, class_id: int, unit: Unit) -> Cost:
        """Estimate the work for one class at a site.

        Where gains and offsets are measured, each sample takes a pass; elsewhere the work is small beside one pass and
        grows with samples and channels.
        """
        site = int(unit[0])
        rows = sum(estimated_channels(lab, options, (class_id,), site).values())
        if not lab.generator.is_affine(site):
            return Cost(float(options.awareness_samples), rows)
        return Cost(1e-5 * options.awareness_samples * lab.generator.sites[site].channels, rows)

    def pace(self, lab: Lab, options: AwarenessOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time one channel of one class, in closed form and per sample, at the widest affine site."""
        affine = [site for site in lab.generator.sites if lab.generator.is_affine(site.index)]
        if not affine:
            return {"closed_form": 0.0, "sample": 0.0}
        widest = max(affine, key=lambda site: site.channels)
        classes = lab.class_ids[:CLASSES_TIMED]
        n_channels = len(classes) * widest.channels
        embeddings = lab.class_embeddings[list(classes)]
        z = lab.latents(classes[0], SAMPLES_TIMED)
        modulation = lab.generator.modulation(widest.index)
        closed_form = seconds(lambda: lab.class_awareness(classes, widest.index), True)
        sampled = seconds(lambda: monte_carlo_awareness(modulation, embeddings, z), True)
        return {"closed_form": closed_form / n_channels, "sample": sampled / (n_channels * SAMPLES_TIMED)}

    def seconds(self, lab: Lab, options: AwarenessOptions, shard: Shard, pace: Pace) -> float:
        """Predict seconds; where gains and offsets are measured, each sample takes a pass per site."""
        samples = options.awareness_samples
        channel_seconds = {"closed_form": pace["closed_form"], "monte_carlo": pace["sample"] * samples}
        total = 0.0
        for site in shard.sites:
            if lab.generator.is_affine(site):
                by_estimator = estimated_channels(lab, options, shard.class_ids, site)
                total += sum(channels * channel_seconds[estimator] for estimator, channels in by_estimator.items())
            else:
                total += len(shard.class_ids) * samples * pace["image"]
        return total


def estimated_classes(
    lab: Lab, options: AwarenessOptions, class_ids: tuple[int, ...], site: int, estimator: str
) -> tuple[int, ...]:
    """Return the classes that an estimator covers at a site; a site that is not affine has no closed form."""
    if not lab.generator.is_affine(site):
        return class_ids if estimator == "monte_carlo" else ()
    if estimator == "closed_form" or not options.monte_carlo_classes:
        return class_ids
    n_classes = len(lab.class_ids)
    places = np.linspace(0, n_classes - 1, min(options.monte_carlo_classes, n_classes)).round().astype(int)
    sampled = {lab.class_ids[place] for place in places}
    return tuple(class_id for class_id in class_ids if class_id in sampled)


def estimated_channels(lab: Lab, options: AwarenessOptions, class_ids: tuple[int, ...], site: int) -> dict[str, int]:
    """Count the (class, channel) pairs of a site that each estimator covers."""
    channels = lab.generator.sites[site].channels
    return {
        estimator: channels * len(estimated_classes(lab, options, class_ids, site, estimator))
        for estimator in options.awareness_estimators
    }


def _rows(
    lab: Lab, options: AwarenessOptions, class_ids: tuple[int, ...], site: int, estimator: str
) -> dict[str, pa.Array]:
    exact = estimator == "closed_form"
    awareness = lab.class_awareness(class_ids, site) if exact else lab.sampled_awareness(class_ids, site)
    n_classes, channels = awareness.category_awareness.shape
    inert = np.isin(np.arange(channels), lab.generator.sites[site].inert_channels)
    n_rows = n_classes * channels
    schema = AWARENESS_TABLE.schema
    columns = {
        "class_id": np.repeat(np.asarray(class_ids, np.int32), channels),
        "channel": np.tile(np.arange(channels, dtype=np.int32), n_classes),
        **{field.name: getattr(awareness, field.name).ravel() for field in dataclasses.fields(awareness)},
        "inert": np.tile(inert, n_classes),
    }
    constants = {"site": site, "estimator": estimator, "n_samples": 0 if exact else options.awareness_samples}
    arrays = {name: pa.array(values, schema.field(name).type, from_pandas=True) for name, values in columns.items()}
    return arrays | {
        name: pa.repeat(pa.scalar(value, schema.field(name).type), n_rows) for name, value in constants.items()
    }
