"""Cost estimates of an audit from a few passes timed on this device: ``cawa plan``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from cawa_core.errors import InputError
from cawa_core.storage import open_storage
from cawa_core.table_schema import TABLES
from cawa_core.tables import Manifest
from workflows.calibration import TIMED_STAGES, calibrated
from workflows.config import RunOptions
from workflows.folder import AUDIT, require_folder_for
from workflows.identity import audit_identity
from workflows.plan import plan
from workflows.shards import Shard
from workflows.spec import AuditSpec
from workflows.stages import STAGES
from workflows.units import Calibration
from workflows.workbench import Workbench

TEXT_BYTES = 8
"""Compressed size of a text or list value in a table; such values repeat."""


@dataclasses.dataclass(frozen=True)
class StageEstimate:
    """Estimate for one stage.

    Attributes:
        stage: name of the stage, for masking with its estimator.
        shards: number of shards to compute.
        passes: generator passes or their equal.
        rows, megabytes: size of its main table, before compression.
        seconds: time on one device; NaN if nothing was measured.
    """

    stage: str
    shards: int
    passes: float
    rows: int
    megabytes: float
    seconds: float


def estimates(
    bench: Workbench, manifest: Manifest, calibration: Calibration | None, classes_per_shard: int | None
) -> list[StageEstimate]:
    """Estimate, stage by stage, the work that the manifest does not cover.

    Args:
        calibration: seconds of the units of work; None: no estimate of time.
    """
    shards = plan(bench, manifest, classes_per_shard)
    by_stage = []
    for stage in bench.spec.stages:
        todo = [shard for shard in shards if shard.stage == stage]
        rows = sum(_rows(bench, shard) for shard in todo)
        seconds = sum(_shard_seconds(bench, shard, calibration) for shard in todo) if calibration else float("nan")
        name = f"masking ({bench.spec.masking_estimator})" if stage == "masking" else stage
        megabytes = (rows * _row_bytes(stage) + sum(_picture_bytes(bench, shard) for shard in todo)) / 1e6
        passes = sum(shard.cost for shard in todo)
        by_stage.append(StageEstimate(name, len(todo), passes, rows, megabytes, seconds))
    return by_stage


def with_estimator(bench: Workbench, estimator: str) -> Workbench:
    """Return a workbench with the same models and another masking estimator."""
    spec: AuditSpec = dataclasses.replace(bench.spec, masking_estimator=estimator)  # type: ignore[arg-type]
    return dataclasses.replace(bench, spec=spec, kept={})


def _rows(bench: Workbench, shard: Shard) -> int:
    stage = STAGES[shard.stage]
    return stage.rows_of_shard(bench, shard) if stage.rows_of_shard else len(shard.class_ids) * stage.rows(bench)


def _picture_bytes(bench: Workbench, shard: Shard) -> int:
    picture = bench.generator.image_size**2 * bench.generator.image_channels
    return len(shard.class_ids) * STAGES[shard.stage].pictures(bench) * picture


def _row_bytes(stage: str) -> int:
    kinds = TABLES[stage].schema.types
    return sum(kind.bit_width // 8 if pa.types.is_primitive(kind) else TEXT_BYTES for kind in kinds)


def _shard_seconds(bench: Workbench, shard: Shard, calibration: Calibration) -> float:
    stage = STAGES[shard.stage]
    if stage.seconds:
        return stage.seconds(bench, shard, calibration)
    if stage.name in calibration.classes:
        return len(shard.class_ids) * calibration.classes[stage.name]
    return shard.cost * calibration.image


def as_lines(stages: Sequence[StageEstimate], price: float | None) -> list[str]:
    """Format estimates as a table whose last line is the sum."""
    names = [field.name for field in dataclasses.fields(StageEstimate)][1:]
    total = StageEstimate("all", **{name: sum(getattr(estimate, name) for estimate in stages) for name in names})
    heading = f"{'stage':26} {'shards':>7} {'passes':>9} {'rows':>11} {'MB':>8} {'hours':>9}"
    if price is not None:
        heading += f" {'cost':>8}"
    return [heading, *(estimate_line(estimate, price) for estimate in (*stages, total))]


def estimate_line(estimate: StageEstimate, price: float | None) -> str:
    """Format an estimate as one row of the table."""
    hours = estimate.seconds / 3600
    hours_text = "" if np.isnan(hours) else f"{hours:9.3g}"
    cost = "" if price is None or np.isnan(hours) else f" {price * hours:8.2f}"
    return (
        f"{estimate.stage:26} {estimate.shards:7} {estimate.passes:9.3g} {estimate.rows:11,} {estimate.megabytes:8.3g} "
        f"{hours_text:>9}{cost}"
    )


def plan_lines(spec: AuditSpec, options: RunOptions, price: float | None, calibrate: bool) -> list[str]:
    """Return the lines of ``cawa plan``: the stages, then masking by the other estimators for comparison.

    Args:
        price: price of one hour of the device; None: no cost column.
        calibrate: whether to time a few passes, for hours and cost.

    Raises:
        InputError: as for an audit with the same options, except that a default output folder may be taken.
    """
    bench = Workbench.build(spec, options.with_absolute_paths())
    storage = open_storage(options.output or Path("results") / bench.generator.name, options.storage_patience)
    manifest = Manifest(storage)
    place = storage.url
    if storage.exists(AUDIT):
        try:
            require_folder_for(storage, audit_identity(bench), options.replace)
            manifest = Manifest.read(storage)
        except InputError:
            if options.output:
                raise
            place = f"another --output: {storage.url} holds another audit"
    timed = calibrate and "evaluator" in bench.judges
    calibration = calibrated(bench) if timed else None
    generator = bench.generator
    size = options.classes_per_shard or None
    channels = sum(site.channels for site in generator.sites)
    lines = [
        f"{generator.name}: {len(bench.spec.classes)} classes, {len(generator.sites)} sites, {channels:,} channels; "
        f"to do in {place}"
    ]
    if calibration:
        lines.append(
            f"hours on one {generator.device.type} device, {bench.batch_size} images per batch: "
            f"{1 / calibration.image:.4g} images, {1 / calibration.mask[0]:.4g} masks at the first site "
            f"and {1 / calibration.screened:.4g} screened latents per second"
        )
        stages = [name for name in TIMED_STAGES if name in bench.spec.stages and STAGES[name].passes(bench, 0)]
        unmeasured = [name for name in stages if name not in calibration.classes]
        if unmeasured:
            lines.append(
                f"{' and '.join(unmeasured)}: only passes are counted, the rest would take too long to time here"
            )
    lines += as_lines(estimates(bench, manifest, calibration, size), price)
    if "masking" in bench.spec.stages:
        alternatives = [name for name in ("exact", "regression", "screening") if name != bench.spec.masking_estimator]
        masking_only = dataclasses.replace(
            bench, spec=dataclasses.replace(bench.spec, stages=("masking",), target_stderr=0, top=0)
        )
        lines.append("masking by the other estimators, from the start:")
        for name in alternatives:
            (estimate,) = estimates(with_estimator(masking_only, name), Manifest(storage), calibration, size)
            lines.append(estimate_line(estimate, price))
    if bench.spec.target_stderr:
        lines.append("target_stderr: masks whose error is too large get more latents than the plan counts")
    return lines
