"""What an audit will take, from a few passes timed on this device: ``cawa plan``."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from cawa_core.awareness.monte_carlo import monte_carlo_awareness
from cawa_core.masking.engine import MaskingEngine, class_ids_of
from cawa_core.masking.screening import screened
from cawa_core.schemas import TABLES
from cawa_core.specs import AuditSpec
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from workflows.config import RunOptions
from workflows.folder import AUDIT, require_same
from workflows.plan import plan
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.stages.awareness import class_awareness, estimated_classes
from workflows.stages.class_metrics import judged
from workflows.stages.masking import masks_of_site, screened_latents
from workflows.workbench import Workbench

MASKS_TIMED = 8
SITES_TIMED = 3
CLASSES_TIMED, SAMPLES_TIMED = 20, 500
TEXT_BYTES = 8
"""Of a text or list in a table, compressed: they repeat."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Seconds of the units of work that an audit is made of, each measured on the device.

    Attributes:
        image: to generate one image and let every network look at it.
        mask: to mask one group of channels in one latent, by site.
        screened: to screen one latent, all channels of all sites.
        awareness: closed form of one channel of one class.
        sampled: one channel of one class by one sample.
    """

    image: float
    mask: tuple[float, ...]
    screened: float
    awareness: float
    sampled: float


@dataclasses.dataclass(frozen=True)
class StageEstimate:
    """One stage.

    Attributes:
        stage: its name, with the masking estimator.
        shards: how many are to do.
        passes: generator passes or their equal.
        rows, megabytes: of its main table, before compression.
        seconds: on one device; NaN where nothing was measured.
    """

    stage: str
    shards: int
    passes: float
    rows: int
    megabytes: float
    seconds: float


def calibrated(bench: Workbench) -> Calibration:
    """Time a few passes of each kind, after one that warms up.

    The audit must have an evaluator.
    """
    class_id, n = bench.spec.classes[0], bench.batch_size
    assert isinstance(class_id, int)
    z = bench.latents(class_id, n)
    sites = bench.generator.sites
    with bench.arithmetic():
        image = _seconds(lambda: _looked_at(bench, z, class_id)) / n
        mask = _mask_seconds(bench, z, class_id)
        screening = _seconds(lambda: screened(bench.generator, bench.evaluator, z, class_id, n)) / n
    widest = max(sites, key=lambda site: site.channels)
    if not bench.generator.is_affine(widest.index):
        return Calibration(image, mask, screening, 0.0, image / sum(site.channels for site in sites))
    classes = tuple(one for one in bench.spec.classes[:CLASSES_TIMED] if isinstance(one, int))
    units, embeddings = len(classes) * widest.channels, bench.class_embeddings[list(classes)]
    closed = _seconds(lambda: class_awareness(bench, classes, widest.index)) / units
    many, modulation = bench.latents(class_id, SAMPLES_TIMED), bench.generator.modulation(widest.index)
    sampled = _seconds(lambda: monte_carlo_awareness(modulation, embeddings, many)) / (units * SAMPLES_TIMED)
    return Calibration(image, mask, screening, closed, sampled)


def _looked_at(bench: Workbench, z: torch.Tensor, class_id: int) -> None:
    with torch.inference_mode():
        images = bench.generator(z, class_ids_of(class_id, z))
        if bench.reals is not None:
            judged(bench, class_id, images)
        else:
            bench.evaluator.log_probabilities(images)


def _mask_seconds(bench: Workbench, z: torch.Tensor, class_id: int) -> tuple[float, ...]:
    """Of one mask and latent, at each site: timed at some, and between them in proportion."""
    engine, sites = MaskingEngine(bench.generator, bench.evaluator, bench.batch_size), bench.generator.sites
    timed = np.unique(np.linspace(0, len(sites) - 1, SITES_TIMED).astype(int)).tolist()
    rows = z[: max(1, min(len(z), bench.spec.exact_latents))]
    seconds = []
    for site in timed:
        width = min(bench.spec.masking_group_size, sites[site].channels)
        masks = [tuple(range(width))] * MASKS_TIMED
        seconds.append(_seconds(lambda s=site, m=masks: engine.site_log_scores(rows, class_id, s, m)))
    each = np.interp(np.arange(len(sites)), timed, seconds) / (MASKS_TIMED * len(rows))
    return tuple(each.tolist())


def _seconds(work: Callable[[], object]) -> float:
    """Of a call, after one that warms up."""
    work()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def estimates(
    bench: Workbench, manifest: Manifest, calibration: Calibration | None, classes_per_shard: int | None
) -> list[StageEstimate]:
    """Each stage of what the manifest does not cover.

    Args:
        calibration: seconds of the units of work; None: say nothing of time.
    """
    shards = plan(bench, manifest, classes_per_shard)
    found = []
    for stage in bench.spec.stages:
        own = [shard for shard in shards if shard.stage == stage]
        rows = sum(_rows(bench, shard) for shard in own)
        seconds = sum(_shard_seconds(bench, shard, calibration) for shard in own) if calibration else float("nan")
        name = f"masking ({bench.spec.masking_estimator})" if stage == "masking" else stage
        megabytes = (rows * _bytes_a_row(stage) + sum(_picture_bytes(bench, shard) for shard in own)) / 1e6
        found.append(StageEstimate(name, len(own), sum(shard.cost for shard in own), rows, megabytes, seconds))
    return found


def with_estimator(bench: Workbench, estimator: str) -> Workbench:
    """The same models for an audit that masks in another way."""
    spec: AuditSpec = dataclasses.replace(bench.spec, masking_estimator=estimator)  # type: ignore[arg-type]
    return dataclasses.replace(bench, spec=spec, kept={})


def _rows(bench: Workbench, shard: Shard) -> int:
    sites = bench.generator.sites
    if shard.stage == "awareness":
        return sum(
            sites[site].channels * len(estimated_classes(bench, shard.class_ids, site, estimator))
            for site in shard.sites
            for estimator in bench.spec.awareness_estimators
        )
    if shard.stage == "masking":
        size = bench.spec.masking_group_size
        return len(shard.class_ids) * sum(math.ceil(sites[site].channels / size) for site in shard.sites)
    return len(shard.class_ids) * STAGES[shard.stage].rows(bench)


def _picture_bytes(bench: Workbench, shard: Shard) -> int:
    side, channels = bench.generator.image_size, bench.generator.image_channels
    return len(shard.class_ids) * STAGES[shard.stage].pictures(bench) * side**2 * channels


def _bytes_a_row(stage: str) -> int:
    kinds = TABLES[stage].schema.types
    return sum(kind.bit_width // 8 if pa.types.is_primitive(kind) else TEXT_BYTES for kind in kinds)


def _shard_seconds(bench: Workbench, shard: Shard, calibration: Calibration) -> float:
    spec, sites = bench.spec, bench.generator.sites
    if shard.stage == "awareness":
        unit = {"closed_form": calibration.awareness, "monte_carlo": calibration.sampled * spec.awareness_samples}
        return sum(
            sites[site].channels * len(estimated_classes(bench, shard.class_ids, site, estimator)) * unit[estimator]
            for site in shard.sites
            for estimator in spec.awareness_estimators
        )
    if shard.stage == "masking":
        masks = sum(masks_of_site(bench, site) * calibration.mask[site] for site in shard.sites)
        share = len(shard.sites) / len(sites)  # shards of one site share the screening of their class
        return len(shard.class_ids) * (masks + share * screened_latents(spec) * calibration.screened)
    return shard.cost * calibration.image


def as_lines(found: Sequence[StageEstimate], price: float | None) -> list[str]:
    """A table, its last line the sum."""
    names = [field.name for field in dataclasses.fields(StageEstimate)][1:]
    total = StageEstimate("all", **{name: sum(getattr(one, name) for one in found) for name in names})
    heading = f"{'stage':26} {'shards':>7} {'passes':>9} {'rows':>11} {'MB':>8} {'hours':>9}"
    return [heading + f" {'cost':>8}" * (price is not None), *(estimate_line(one, price) for one in (*found, total))]


def estimate_line(one: StageEstimate, price: float | None) -> str:
    """One row of the table."""
    hours = one.seconds / 3600
    shown = "" if np.isnan(hours) else f"{hours:9.3g}"
    cost = "" if price is None or np.isnan(hours) else f" {price * hours:8.2f}"
    return f"{one.stage:26} {one.shards:7} {one.passes:9.3g} {one.rows:11,} {one.megabytes:8.3g} {shown:>9}{cost}"


def plan_lines(spec: AuditSpec, options: RunOptions, price: float | None, calibrate: bool) -> list[str]:
    """What ``cawa plan`` prints: the stages, then masking by the other estimators, so that one can choose.

    Args:
        price: of an hour of the device.
        calibrate: time a few passes, for hours and cost.

    Raises:
        InputError: as an audit of the same options would.
    """
    bench = Workbench.build(spec, options.with_absolute_paths())
    storage = open_storage(options.output or Path("results") / bench.generator.name, options.storage_patience)
    manifest = Manifest(storage)
    if storage.exists(AUDIT):
        require_same(storage, bench.identity)
        manifest = Manifest.read(storage)
    timed = calibrate and "evaluator" in bench.judges
    calibration = calibrated(bench) if timed else None
    generator, size = bench.generator, options.classes_per_shard or None
    channels = sum(site.channels for site in generator.sites)
    lines = [
        f"{generator.name}: {len(bench.spec.classes)} classes, {len(generator.sites)} sites, {channels:,} channels; "
        f"to do in {storage.url}"
    ]
    if calibration:
        lines.append(
            f"hours are of one {generator.device.type} device, {bench.batch_size} images to a batch: "
            f"{1 / calibration.image:.4g} images a second, {1 / calibration.mask[0]:.4g} masks at the first site, "
            f"{1 / calibration.screened:.4g} screened latents"
        )
    lines += as_lines(estimates(bench, manifest, calibration, size), price)
    if "masking" in bench.spec.stages:
        others = [name for name in ("exact", "regression", "screening") if name != bench.spec.masking_estimator]
        alike = dataclasses.replace(
            bench, spec=dataclasses.replace(bench.spec, stages=("masking",), target_stderr=0, top=0)
        )
        lines.append("instead of its masking, all of it:")
        for name in others:
            (one,) = estimates(with_estimator(alike, name), Manifest(storage), calibration, size)
            lines.append(estimate_line(one, price))
    if bench.spec.target_stderr:
        lines.append("target_stderr: masks get more latents than the plan counts where their error asks for it")
    return lines
