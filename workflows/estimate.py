"""What an audit will take, from a few passes timed on this device: ``cawa plan``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from cawa_core.errors import InputError
from cawa_core.schemas import TABLES
from cawa_core.specs import AuditSpec
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from workflows.calibration import OWN_WORK, calibrated
from workflows.config import RunOptions
from workflows.folder import AUDIT, require_folder_for
from workflows.identity import audit_identity
from workflows.plan import plan
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.units import Calibration
from workflows.workbench import Workbench

TEXT_BYTES = 8
"""Of a text or list in a table, compressed: they repeat."""


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
    stage = STAGES[shard.stage]
    return stage.rows_of_shard(bench, shard) if stage.rows_of_shard else len(shard.class_ids) * stage.rows(bench)


def _picture_bytes(bench: Workbench, shard: Shard) -> int:
    side, channels = bench.generator.image_size, bench.generator.image_channels
    return len(shard.class_ids) * STAGES[shard.stage].pictures(bench) * side**2 * channels


def _bytes_a_row(stage: str) -> int:
    kinds = TABLES[stage].schema.types
    return sum(kind.bit_width // 8 if pa.types.is_primitive(kind) else TEXT_BYTES for kind in kinds)


def _shard_seconds(bench: Workbench, shard: Shard, calibration: Calibration) -> float:
    stage = STAGES[shard.stage]
    if stage.seconds:
        return stage.seconds(bench, shard, calibration)
    if stage.name in calibration.classes:
        return len(shard.class_ids) * calibration.classes[stage.name]
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
        InputError: as an audit of the same options would, but for a folder that was not asked for.
    """
    bench = Workbench.build(spec, options.with_absolute_paths())
    storage = open_storage(options.output or Path("results") / bench.generator.name, options.storage_patience)
    manifest, place = Manifest(storage), storage.url
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
    generator, size = bench.generator, options.classes_per_shard or None
    channels = sum(site.channels for site in generator.sites)
    lines = [
        f"{generator.name}: {len(bench.spec.classes)} classes, {len(generator.sites)} sites, {channels:,} channels; "
        f"to do in {place}"
    ]
    if calibration:
        lines.append(
            f"hours are of one {generator.device.type} device, {bench.batch_size} images to a batch: "
            f"{1 / calibration.image:.4g} images a second, {1 / calibration.mask[0]:.4g} masks at the first site, "
            f"{1 / calibration.screened:.4g} screened latents"
        )
        working = [name for name in OWN_WORK if name in bench.spec.stages and STAGES[name].passes(bench, 0)]
        unmeasured = [name for name in working if name not in calibration.classes]
        if unmeasured:
            lines.append(f"{' and '.join(unmeasured)}: passes alone, the rest would take too long to time here")
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
