"""Awareness of every channel of one site for a block of classes, by each estimator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from cawa_core.awareness import Awareness, awareness_of_samples, closed_form_awareness, monte_carlo_awareness
from cawa_core.seeds import SHARED_CLASS
from cawa_core.table_schema import TABLES
from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.stages.base import Stage
from workflows.units import Calibration
from workflows.workbench import Workbench


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of the ``awareness`` table."""
    parts = [
        _rows(bench, class_ids, site, estimator)
        for site in shard.sites
        for estimator in bench.spec.awareness_estimators
        if (class_ids := estimated_classes(bench, shard.class_ids, site, estimator))
    ]
    return {"awareness": {name: pa.chunked_array([part[name] for part in parts]) for name in parts[0]}}


def estimated_classes(bench: Workbench, class_ids: tuple[int, ...], site: int, estimator: str) -> tuple[int, ...]:
    """Return the classes that an estimator covers at a site; a site that is not affine has no closed form."""
    if not bench.generator.is_affine(site):
        return class_ids if estimator == "monte_carlo" else ()
    if estimator == "closed_form" or not bench.spec.monte_carlo_classes:
        return class_ids
    n_classes = len(bench.class_ids)
    places = np.linspace(0, n_classes - 1, min(bench.spec.monte_carlo_classes, n_classes)).round().astype(int)
    sampled = {bench.class_ids[place] for place in places}
    return tuple(class_id for class_id in class_ids if class_id in sampled)


def class_awareness(bench: Workbench, class_ids: tuple[int, ...], site: int) -> Awareness:
    """Return a site's awareness for some classes, in closed form if there is one; it orders groups and galleries."""
    if not bench.generator.is_affine(site):  # thousands of passes: computed once for all stages
        if (class_ids, site) not in bench.kept:
            bench.kept[class_ids, site] = _sampled_awareness(bench, class_ids, site)
        awareness: Awareness = bench.kept[class_ids, site]
        return awareness
    modulation = bench.generator.modulation(site).with_latent_scaled(bench.generator.latent_deviation)
    return closed_form_awareness(modulation, bench.class_embeddings[list(class_ids)])


def _sampled_awareness(bench: Workbench, class_ids: tuple[int, ...], site: int) -> Awareness:
    z = bench.generator.sample_latents(bench.spec.seed, SHARED_CLASS, range(bench.spec.awareness_samples))
    if bench.generator.is_affine(site):
        return monte_carlo_awareness(bench.generator.modulation(site), bench.class_embeddings[list(class_ids)], z)
    by_class = [awareness_of_samples(*bench.generator.gains_and_offsets(site, z, class_id)) for class_id in class_ids]
    columns = [field.name for field in dataclasses.fields(Awareness)]
    return Awareness(**{name: np.concatenate([getattr(awareness, name) for awareness in by_class]) for name in columns})


def _rows(bench: Workbench, class_ids: tuple[int, ...], site: int, estimator: str) -> dict[str, pa.Array]:
    exact = estimator == "closed_form"
    awareness = class_awareness(bench, class_ids, site) if exact else _sampled_awareness(bench, class_ids, site)
    n_classes, channels = awareness.category_awareness.shape
    inert = np.isin(np.arange(channels), bench.generator.sites[site].inert_channels)
    n_rows = n_classes * channels
    schema = TABLES["awareness"].schema
    columns = {
        "class_id": np.repeat(np.asarray(class_ids, np.int32), channels),
        "channel": np.tile(np.arange(channels, dtype=np.int32), n_classes),
        **{field.name: getattr(awareness, field.name).ravel() for field in dataclasses.fields(awareness)},
        "inert": np.tile(inert, n_classes),
    }
    constants = {"site": site, "estimator": estimator, "n_samples": 0 if exact else bench.spec.awareness_samples}
    arrays = {name: pa.array(values, schema.field(name).type, from_pandas=True) for name, values in columns.items()}
    return arrays | {
        name: pa.repeat(pa.scalar(value, schema.field(name).type), n_rows) for name, value in constants.items()
    }


def passes(bench: Workbench, site: int) -> float:
    """Estimate the work for one class at a site.

    Where gains and offsets are measured, each sample takes a pass; elsewhere the work is small beside one pass and
    grows with samples and channels.
    """
    if not bench.generator.is_affine(site):
        return float(bench.spec.awareness_samples)
    return 1e-5 * bench.spec.awareness_samples * bench.generator.sites[site].channels


def estimated_channels(bench: Workbench, class_ids: tuple[int, ...], site: int) -> dict[str, int]:
    """Count the (class, channel) pairs of a site that each estimator covers."""
    channels = bench.generator.sites[site].channels
    return {
        estimator: channels * len(estimated_classes(bench, class_ids, site, estimator))
        for estimator in bench.spec.awareness_estimators
    }


def rows(bench: Workbench, shard: Shard) -> int:
    """Count the rows: one per class, channel and estimator."""
    return sum(sum(estimated_channels(bench, shard.class_ids, site).values()) for site in shard.sites)


def seconds(bench: Workbench, shard: Shard, units: Calibration) -> float:
    """Estimate the seconds of a shard; where gains and offsets are measured, each sample takes a pass per site."""
    samples = bench.spec.awareness_samples
    channel_seconds = {"closed_form": units.awareness, "monte_carlo": units.sampled * samples}
    total = 0.0
    for site in shard.sites:
        if bench.generator.is_affine(site):
            by_estimator = estimated_channels(bench, shard.class_ids, site)
            total += sum(channels * channel_seconds[estimator] for estimator, channels in by_estimator.items())
        else:
            total += len(shard.class_ids) * samples * units.image
    return total


AWARENESS = Stage(
    "awareness",
    by_site=True,
    classes_per_shard=250,
    passes=passes,
    process=process,
    rows_of_shard=rows,
    seconds=seconds,
)
