"""One audit from spec to report: plan, run or resume, aggregate, report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from cawa_core.errors import InputError, counted, last_line
from cawa_core.options import require_members
from cawa_core.storage import Storage, open_storage
from cawa_core.tables import Manifest, Receipt, publish
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.receipts import HASH_DIGITS
from cawa_core.tables.schema import SITES_TABLE
from workflows.executors import EXECUTORS
from workflows.folders.folder import AUDIT, open_folder, read_audit, require_folder_for, with_replacement, write_audit
from workflows.folders.joining import join_small_shards
from workflows.lab.opening import checked_device
from workflows.lab.real_check import check_real_images
from workflows.lab.trial import require_pass
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions, with_absolute_real_images
from workflows.planning.plan import plan
from workflows.planning.sequence import expected_workers, in_sequence
from workflows.planning.shards import Shard
from workflows.running.events import EventLog, event_log
from workflows.running.execution import Failure, Outcome, Retry
from workflows.running.interim_reports import InterimReports
from workflows.running.job import Job, tried_by_driver
from workflows.running.order import require_complete_order, waves, with_readers
from workflows.running.progress import ProgressReporter


@dataclasses.dataclass(frozen=True)
class AuditResult:
    """How an audit ended.

    Attributes:
        storage: where it is.
        computed, reused: shards done now, and found done (of this spec's stages).
        retried: attempts that failed and were made again.
        quarantined: names of shards that failed for good.
        refreshed: whether tables or report were written again.
        seconds: how long it took.
    """

    storage: Storage
    computed: int
    reused: int
    retried: int
    quarantined: tuple[str, ...]
    refreshed: bool
    seconds: float


def run_audit(spec: AuditSpec, options: RunOptions) -> AuditResult:
    """Run an audit, or what is missing of it.

    Raises:
        InputError: bad input; nothing that was there was changed.
    """
    start = time.monotonic()
    EXECUTORS.factory(options.executor)
    options = options.with_absolute_paths()
    spec = with_absolute_real_images(spec)
    if options.replace:
        require_members("replace", options.replace, spec.stages)
        options = dataclasses.replace(options, replace=with_readers(options.replace, spec.stages))
    job = driver_job(spec, options)
    storage = open_storage(options.output or Path("results") / job.lab.generator.name, options.storage_patience)
    job = with_recorded_classes(job, storage, options.replace)
    generator = job.lab.generator
    if generator.description:
        print(generator.description, file=sys.stderr)
    identity = job.identity
    cost = functools.partial(cost_in_words, job)
    before = read_audit(storage) if storage.exists(AUDIT) else None
    require_complete_order(identity, before, options.replace)
    if tried_by_driver(options) and not _has_passed(job, before):
        require_pass(job.lab)
    recorded = before.identity.class_digests if before else {}
    if not identity.class_digests.keys() <= recorded.keys():
        check_real_images(job.lab)
    name = {"audit": identity.hash[:HASH_DIGITS], "generator": generator.name}
    with event_log(options.log, **name) as log:
        require_folder_for(storage, identity, options.replace, cost)  # a folder of others is not even locked
        with storage.locked():
            labels = generator.classes.labels(job.classes_read)
            units = job.count_units
            record = open_folder(storage, identity, options.device, labels, units, options.replace, cost)
            return _done(job, options, storage, log, start, record)


def _has_passed(job: Job, before: AuditRecord | None) -> bool:
    """Return whether a folder has every analysis of a job with the same models, which were tried then."""
    analyses = before.analyses if before else {}
    return all(name in analyses and analyses[name].hash == job.identity.analysis_hash(name) for name in job.spec.stages)


def with_recorded_classes(job: Job, storage: Storage, replace: Collection[str]) -> Job:
    """Add the classes whose results will be replaced: the old results stay until all new ones are there."""
    if not replace or not storage.exists(AUDIT):
        return job
    analyses = read_audit(storage).analyses
    recorded = {class_id for stage in replace if stage in analyses for class_id in analyses[stage].class_ids}
    return job.with_spec(classes=tuple(sorted({*job.lab.class_ids, *recorded})))


def cost_in_words(job: Job, stage: str, class_ids: Collection[int]) -> str:
    """Say what it takes to compute an analysis again, for the classes that a folder has of it and those of a job."""
    classes = {*job.lab.class_ids, *class_ids}
    work = job.work(stage)
    passes = sum(
        work.cost(job.lab, job.spec, class_id, unit).passes
        for class_id in classes
        for unit in job.units(stage, class_id)
    )
    return f"{counted(len(classes), 'class')}, about {passes:,.0f} generator passes"


def _done(
    job: Job, options: RunOptions, storage: Storage, log: EventLog, start: float, record: AuditRecord
) -> AuditResult:
    """Compute what is missing of an audit, in a folder that this driver has locked."""
    manifest = Manifest.read(storage)
    manifest.tidy()
    _publish_sites(job, manifest)
    replaced = _begin_replacements(job, record, manifest)
    reused = len([receipt for receipt in manifest.receipts.values() if receipt.stage in job.spec.stages])
    computed = 0
    retried = 0
    with InterimReports(storage, options.report_every if options.report else 0.0, log) as interim:
        for stages in waves(job.spec.stages):
            planned = plan(job, manifest, options.classes_per_shard or None, stages)
            shards = in_sequence(planned, expected_workers(options))
            log.write("started", folder=storage.url, executor=options.executor, shards=len(shards), reused=reused)
            n_computed, n_retried = _compute(job, options, shards, manifest, log, interim)
            computed += n_computed
            retried += n_retried
            manifest.settle()
            record = _finish_replacements(record, manifest, [name for name in replaced if name in stages])
    from workflows.results.refresh import refresh

    if joined := join_small_shards(manifest, record):
        log.write("joined", shards=joined)
    refreshed = refresh(manifest, options.report)
    failed = tuple(sorted(manifest.quarantined))
    seconds = time.monotonic() - start
    log.write("done", computed=computed, retried=retried, quarantined=failed, seconds=round(seconds, 3))
    return AuditResult(storage, computed, reused, retried, failed, refreshed, seconds)


def _compute(
    job: Job, options: RunOptions, shards: list[Shard], manifest: Manifest, log: EventLog, interim: InterimReports
) -> tuple[int, int]:
    """Execute and record shards; return how many were computed, and how many attempts were repeated."""
    with contextlib.ExitStack() as started:
        outcomes: Iterable[Outcome] = ()
        if shards:
            executor = started.enter_context(contextlib.closing(EXECUTORS.make(options.executor)))
            # left before the executor is closed, however this ends: workers are stopped while there is a cluster
            outcomes = started.enter_context(contextlib.closing(executor.run(job, options, manifest.storage, shards)))
        import workflows.results.refresh  # noqa: F401 - slow to import: meanwhile, workers start

        return _record(outcomes, job.lab.generator.name, shards, manifest, log, interim)


def _begin_replacements(job: Job, record: AuditRecord, manifest: Manifest) -> tuple[str, ...]:
    """Keep new results apart from those that they will replace; return the analyses that are replaced."""
    hashes = {
        stage: analysis.hash[:HASH_DIGITS]
        for stage in job.spec.stages
        if (analysis := record.replacing.get(stage)) and analysis.hash == job.identity.analysis_hash(stage)
    }
    if hashes:
        manifest.drop_replacements(hashes.keys(), hashes.values())
    for analysis_hash in hashes.values():
        manifest.begin_replacement(analysis_hash)
    return tuple(hashes)


def _finish_replacements(record: AuditRecord, manifest: Manifest, replaced: Collection[str]) -> AuditRecord:
    """Put complete results in the place of the old ones; what is not complete stays apart for the next run."""
    for stage in replaced:
        analysis = record.replacing[stage]
        if len(manifest.covered(stage, analysis.hash[:HASH_DIGITS])) >= analysis.n_units:
            manifest.finish_replacement(stage, analysis.hash[:HASH_DIGITS])
            record = with_replacement(record, stage)
            write_audit(manifest.storage, record)
    return record


def driver_job(spec: AuditSpec, options: RunOptions) -> Job:
    """Load what the driver needs to plan; under Ray, its models stay on the CPU."""
    if options.executor == "ray":
        if not os.environ.get("RAY_ADDRESS"):
            checked_device(options.device)
        if options.device.startswith("cuda:"):
            raise InputError(
                f"device must be cpu or cuda under ray, which gives each worker its own GPU; got {options.device!r}"
            )
        return Job.open(spec, options, device="cpu")
    return Job.open(spec, options)


def _record(
    outcomes: Iterable[Outcome],
    name: str,
    shards: list[Shard],
    manifest: Manifest,
    log: EventLog,
    interim: InterimReports,
) -> tuple[int, int]:
    """Record outcomes as they come; return how many shards were computed, and how many attempts were repeated."""
    computed = 0
    retried = 0
    cost = {shard.name: shard.cost for shard in shards}
    with ProgressReporter(f"auditing {name}", sum(cost.values())) as progress:
        for outcome in outcomes:
            if isinstance(outcome, Retry):
                retried += 1
                cost |= {part.name: part.cost for part in outcome.parts}
                progress.note(f"{outcome.shard.name} again: {last_line(outcome.error)}")
                log.write("retried", shard=outcome.shard.name, stage=outcome.shard.analysis, error=outcome.error)
            elif isinstance(outcome, Failure):
                manifest.quarantine(outcome.shard.name, outcome.error)
                progress.advance(outcome.shard.cost, f"{outcome.shard.name} failed")
                log.write("quarantined", shard=outcome.shard.name, stage=outcome.shard.analysis, error=outcome.error)
            else:
                manifest.add(outcome)
                computed += 1
                progress.advance(cost[outcome.shard], outcome.shard)
                log.write("finished", shard=outcome.shard, stage=outcome.stage, seconds=outcome.seconds)
                interim.after_result(progress.note)
    return computed, retried


def _publish_sites(job: Job, manifest: Manifest) -> None:
    if SITES_TABLE.name in manifest.receipts:
        return
    start = time.perf_counter()
    sites = job.lab.generator.sites
    rows = {
        "site": [site.index for site in sites],
        **{name: [getattr(site, name) for site in sites] for name in ("name", "channels", "resolution")},
        "inert_channels": [list(site.inert_channels) for site in sites],
    }
    subject = job.identity.hash
    name = SITES_TABLE.name
    covered = {"class_ids": (), "sites": (), "units": ((),), "tables": (name,), "files": ()}
    files = publish(manifest.storage, "all", {name: rows}, subject, {"shard": name, "stage": name, **covered})
    seconds = round(time.perf_counter() - start, 3)
    manifest.add(Receipt(name, name, (), (), files, seconds, "driver", subject[:HASH_DIGITS]))
