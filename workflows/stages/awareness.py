"""Awareness of every channel of one site for a block of classes, by each estimator."""

from __future__ import annotations

import dataclasses

import numpy as np

from cawa_core.awareness import Awareness, closed_form_awareness, monte_carlo_awareness
from cawa_core.seeds import SHARED_CLASS
from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.stages.base import Stage
from workflows.workbench import Workbench


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of the ``awareness`` table."""
    parts = [
        _rows(bench, shard, site, estimator) for site in shard.sites for estimator in bench.spec.awareness_estimators
    ]
    return {"awareness": {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}}


def class_awareness(bench: Workbench, class_ids: tuple[int, ...], site: int) -> Awareness:
    """Closed-form awareness of a site for some classes: what masking and the galleries order channels by."""
    return closed_form_awareness(bench.generator.modulation(site), bench.class_embeddings[list(class_ids)])


def _rows(bench: Workbench, shard: Shard, site: int, estimator: str) -> dict[str, np.ndarray]:
    awareness, n_samples = _estimate(bench, shard.class_ids, site, estimator)
    n_classes, channels = awareness.category_awareness.shape
    inert = np.isin(np.arange(channels), bench.generator.sites[site].inert_channels)
    return {
        "class_id": np.repeat(shard.class_ids, channels),
        "site": np.full(n_classes * channels, site),
        "channel": np.tile(np.arange(channels), n_classes),
        **{field.name: getattr(awareness, field.name).ravel() for field in dataclasses.fields(awareness)},
        "inert": np.tile(inert, n_classes),
        "estimator": np.full(n_classes * channels, estimator, dtype=object),
        "n_samples": np.full(n_classes * channels, n_samples),
    }


def _estimate(bench: Workbench, class_ids: tuple[int, ...], site: int, estimator: str) -> tuple[Awareness, int]:
    if estimator == "closed_form":
        return class_awareness(bench, class_ids, site), 0
    count = bench.spec.awareness_samples
    z = bench.generator.sample_latents(bench.spec.seed, SHARED_CLASS, range(count))
    return monte_carlo_awareness(bench.generator.modulation(site), bench.class_embeddings[list(class_ids)], z), count


def passes(bench: Workbench, site: int) -> float:
    """Small beside a generator pass: a matter of the samples and channels."""
    return 1e-5 * bench.spec.awareness_samples * bench.generator.sites[site].channels


AWARENESS = Stage("awareness", by_site=True, classes_per_shard=250, passes=passes, process=process)
