"""Cost estimates of an audit from a few passes timed on this device: ``cawa plan``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from cawa_core.errors import InputError, counted
from cawa_core.storage import Storage, open_storage
from cawa_core.tables import Manifest
from cawa_core.tables.schema import Table
from workflows.folders.folder import AUDIT, require_folder_for
from workflows.interface import Analysis, Cost
from workflows.lab.trial import require_pass
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions, with_absolute_real_images
from workflows.planning.calibration import Paces, paces
from workflows.planning.plan import plan
from workflows.planning.shards import Shard
from workflows.running.job import Job

TEXT_BYTES = 8
"""Compressed size of a text or list value in a table; such values repeat."""


@dataclasses.dataclass(frozen=True)
class StageEstimate:
    """Estimate for one analysis.

    Attributes:
        stage: name of the analysis, with its variant if it has several.
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
    job: Job, manifest: Manifest, measured: Paces | None, classes_per_shard: int | None
) -> list[StageEstimate]:
    """Estimate, analysis by analysis, the work that the manifest does not cover.

    Args:
        job: the audit.
        manifest: what its folder has.
        measured: what :func:`~workflows.planning.calibration.paces` measured; None: no estimate of time.
        classes_per_shard: classes per shard; by default what suits each analysis.
    """
    shards = plan(job, manifest, classes_per_shard)
    return [
        _estimate(job, analysis, [shard for shard in shards if shard.analysis == analysis.name], measured)
        for analysis in job.analyses
    ]


def _estimate(job: Job, analysis: Analysis, shards: Sequence[Shard], measured: Paces | None) -> StageEstimate:
    work = job.work(analysis.name)
    cost = sum((_cost(job, shard) for shard in shards), Cost())
    seconds = sum(_seconds(job, shard, measured) for shard in shards) if measured else float("nan")
    label = work.label(job.spec)
    name = f"{analysis.name} ({label})" if label else analysis.name
    picture = job.lab.generator.image_size**2 * job.lab.generator.image_channels
    megabytes = (cost.rows * _row_bytes(analysis.tables[0]) + cost.pictures * picture) / 1e6
    return StageEstimate(name, len(shards), sum(shard.cost for shard in shards), cost.rows, megabytes, seconds)


def _cost(job: Job, shard: Shard) -> Cost:
    work = job.work(shard.analysis)
    costs = (work.cost(job.lab, job.spec, class_id, unit) for class_id in shard.class_ids for unit in shard.units)
    return sum(costs, Cost())


def _row_bytes(table: Table) -> int:
    kinds = table.schema.types
    return sum(kind.bit_width // 8 if pa.types.is_primitive(kind) else TEXT_BYTES for kind in kinds)


def _seconds(job: Job, shard: Shard, measured: Paces) -> float:
    pace = measured.by_analysis[shard.analysis]
    if pace is None:
        return shard.cost * measured.image
    return job.work(shard.analysis).seconds(job.lab, job.spec, shard, pace)


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
    """Return the lines of ``cawa plan``: the analyses, then their variants for comparison.

    Args:
        spec: options of the audit.
        options: how it runs.
        price: price of one hour of the device; None: no cost column.
        calibrate: whether to time a few passes, for hours and cost.

    Raises:
        InputError: as for an audit with the same options, except that a default output folder may be taken.
    """
    job = Job.open(with_absolute_real_images(spec), options.with_absolute_paths())
    generator = job.lab.generator
    storage = open_storage(options.output or Path("results") / generator.name, options.storage_patience)
    manifest, place = _what_is_there(job, storage, options)
    measured = None
    if calibrate and "evaluator" in job.lab.networks:
        require_pass(job.lab)
        measured = paces(job)
    size = options.classes_per_shard or None
    channels = sum(site.channels for site in generator.sites)
    lines = [
        f"{generator.name}: {counted(len(job.lab.class_ids), 'class')}, {counted(len(generator.sites), 'site')}, "
        f"{counted(channels, 'channel')}; "
        f"to do in {place}"
    ]
    if measured:
        lines += _speed_lines(job, measured)
    lines += as_lines(estimates(job, manifest, measured, size), price)
    for analysis in job.analyses:
        lines += _alternatives(job, analysis, storage, measured, size, price)
    remarks = (remark for analysis in job.analyses for remark in job.work(analysis.name).remarks(job.spec))
    return [*lines, *remarks]


def _what_is_there(job: Job, storage: Storage, options: RunOptions) -> tuple[Manifest, str]:
    """Return what the folder has, and where the work would go, in words."""
    if storage.exists(AUDIT):
        try:
            require_folder_for(storage, job.identity, options.replace)
        except InputError:
            if options.output:
                raise
            return Manifest(storage), f"another --output: {storage.url} holds another audit"
        return Manifest.read(storage), storage.url
    return Manifest(storage), storage.url


def _speed_lines(job: Job, measured: Paces) -> Iterator[str]:
    yield (
        f"hours on one {job.lab.generator.device.type} device, {job.lab.batch_size} images per batch: "
        f"{1 / measured.image:.4g} images per second"
    )
    for analysis in job.analyses:
        pace = measured.by_analysis[analysis.name]
        if pace is not None:
            yield from (f"{analysis.name}: {speed}" for speed in job.work(analysis.name).speeds(pace))
    unmeasured = [name for name, pace in measured.by_analysis.items() if pace is None]
    if unmeasured:
        yield f"{' and '.join(unmeasured)}: only passes are counted, because timing the rest would take too long here"


def _alternatives(
    job: Job, analysis: Analysis, storage: Storage, measured: Paces | None, size: int | None, price: float | None
) -> Iterator[str]:
    """Yield the estimates of other variants of an analysis, from the start."""
    alternatives = job.work(analysis.name).alternatives(job.spec)
    if alternatives:
        yield f"{analysis.name} in other ways, from the start:"
    for changes in alternatives.values():
        variant = job.with_spec(stages=(analysis.name,), **changes)
        (estimate,) = estimates(variant, Manifest(storage), measured, size)
        yield estimate_line(estimate, price)
