"""One audit from spec to report: plan, run or resume, aggregate, report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cawa_core.audit_record import AuditRecord
from cawa_core.errors import InputError, last_line
from cawa_core.options import require_members
from cawa_core.storage import Storage, open_storage
from cawa_core.tables import Manifest, Receipt, publish
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.config import RunOptions
from workflows.events import EventLog, event_log
from workflows.execution import Failure, Outcome, Retry
from workflows.executors import EXECUTORS
from workflows.folder import AUDIT, open_folder, read_audit, require_folder_for, with_replacement, write_audit
from workflows.identity import audit_identity, classes_read
from workflows.plan import plan
from workflows.progress import ProgressReporter
from workflows.real_check import check_real_images
from workflows.shards import Shard
from workflows.spec import AuditSpec
from workflows.stages import STAGES
from workflows.workbench import Workbench, checked_device


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
    if spec.real_images and Path(spec.real_images).expanduser().is_dir():
        spec = dataclasses.replace(spec, real_images=str(Path(spec.real_images).expanduser().absolute()))
    if options.replace:
        require_members("replace", options.replace, spec.stages)
    bench = driver_bench(spec, options)
    storage = open_storage(options.output or Path("results") / bench.generator.name, options.storage_patience)
    bench = with_recorded_classes(bench, storage, options.replace)
    if bench.generator.description:
        print(bench.generator.description, file=sys.stderr)
    identity, cost = audit_identity(bench), functools.partial(cost_in_words, bench)
    recorded = read_audit(storage).identity.class_digests if storage.exists(AUDIT) else {}
    if not identity.class_digests.keys() <= recorded.keys():
        check_real_images(bench)
    name = {"audit": identity.hash[:HASH_DIGITS], "generator": bench.generator.name}
    with event_log(options.log, **name) as log:
        require_folder_for(storage, identity, options.replace, cost)  # a folder of others is not even locked
        with storage.locked():
            names = {class_id: bench.generator.class_names[class_id] for class_id in classes_read(bench)}
            record = open_folder(storage, identity, options.device, names, options.replace, cost)
            return _done(bench, options, storage, log, start, record)


def with_recorded_classes(bench: Workbench, storage: Storage, replace: Collection[str]) -> Workbench:
    """Add the classes whose results will be replaced: the old results stay until all new ones are there."""
    if not replace or not storage.exists(AUDIT):
        return bench
    analyses = read_audit(storage).analyses
    recorded = {class_id for stage in replace if stage in analyses for class_id in analyses[stage].class_ids}
    classes = tuple(sorted({*bench.class_ids, *recorded}))
    return dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, classes=classes))


def cost_in_words(bench: Workbench, name: str, class_ids: Collection[int]) -> str:
    """Say what it takes to compute a stage again, for the classes that a folder has of it and those of a workbench."""
    n_classes, stage = len({*bench.class_ids, *class_ids}), STAGES[name]
    sites = range(len(bench.generator.sites)) if stage.by_site else range(1)
    passes = n_classes * sum(stage.passes(bench, site) for site in sites)
    return f"{n_classes} classes, about {passes:,.0f} generator passes"


def _done(
    bench: Workbench, options: RunOptions, storage: Storage, log: EventLog, start: float, record: AuditRecord
) -> AuditResult:
    """Compute what is missing of an audit, in a folder that this driver has locked."""
    manifest = Manifest.read(storage)
    manifest.tidy()
    _publish_sites(bench, manifest)
    replaced = _begin_replacements(bench, record, manifest)
    reused = len([receipt for receipt in manifest.receipts.values() if receipt.stage in bench.spec.stages])
    shards = plan(bench, manifest, options.classes_per_shard or None)
    log.write("started", folder=storage.url, executor=options.executor, shards=len(shards), reused=reused)
    with contextlib.ExitStack() as started:
        outcomes: Iterable[Outcome] = ()
        if shards:
            executor = started.enter_context(contextlib.closing(EXECUTORS.make(options.executor)))
            # left before the executor is closed, however this ends: workers are stopped while there is a cluster
            outcomes = started.enter_context(contextlib.closing(executor.run(bench, options, storage, shards)))
        from workflows.refresh import refresh  # slow to import: meanwhile, workers start

        computed, retried = _record(outcomes, bench.generator.name, shards, manifest, log)
        manifest.settle()
        _finish_replacements(record, manifest, replaced)
        refreshed = refresh(manifest)
    failed, seconds = tuple(sorted(manifest.quarantined)), time.monotonic() - start
    log.write("done", computed=computed, retried=retried, quarantined=failed, seconds=round(seconds, 3))
    return AuditResult(storage, computed, reused, retried, failed, refreshed, seconds)


def _begin_replacements(bench: Workbench, record: AuditRecord, manifest: Manifest) -> dict[str, int]:
    """Keep new results apart from those that they are to replace; stage => units that must be there first."""
    wanted = {}
    for stage in bench.spec.stages:
        analysis = record.replacing.get(stage)
        if analysis and analysis.hash == audit_identity(bench).analysis_hash(stage):
            manifest.drop_replacements(stage, analysis.hash[:HASH_DIGITS])
            manifest.begin_replacement(analysis.hash[:HASH_DIGITS])
            wanted[stage] = len(bench.class_ids) * (len(bench.generator.sites) if STAGES[stage].by_site else 1)
    return wanted


def _finish_replacements(record: AuditRecord, manifest: Manifest, wanted: Mapping[str, int]) -> None:
    """Put complete results in the place of the old ones; what is not complete stays apart for the next run."""
    for stage, units in wanted.items():
        analysis = record.replacing[stage].hash[:HASH_DIGITS]
        if len(manifest.covered(stage, analysis)) >= units:
            manifest.finish_replacement(stage, analysis)
            record = with_replacement(record, stage)
            write_audit(manifest.storage, record)


def driver_bench(spec: AuditSpec, options: RunOptions) -> Workbench:
    """Load what the driver needs to plan; under Ray, its models stay on the CPU."""
    if options.executor == "ray":
        if not os.environ.get("RAY_ADDRESS"):
            checked_device(options.device)
        if options.device.startswith("cuda:"):
            raise InputError(
                f"device must be cpu or cuda under ray, which gives each worker its own GPU; got {options.device!r}"
            )
        return Workbench.build(spec, options, device="cpu")
    return Workbench.build(spec, options)


def _record(
    outcomes: Iterable[Outcome], name: str, shards: list[Shard], manifest: Manifest, log: EventLog
) -> tuple[int, int]:
    """Keep what comes; how many shards were computed, and how many attempts were made again."""
    computed, retried, cost = 0, 0, {shard.name: shard.cost for shard in shards}
    with ProgressReporter(f"auditing {name}", sum(cost.values())) as progress:
        for outcome in outcomes:
            if isinstance(outcome, Retry):
                retried += 1
                progress.note(f"{outcome.shard.name} again: {last_line(outcome.error)}")
                log.write("retried", shard=outcome.shard.name, stage=outcome.shard.stage, error=outcome.error)
            elif isinstance(outcome, Failure):
                manifest.quarantine(outcome.shard.name, outcome.error)
                progress.advance(outcome.shard.cost, f"{outcome.shard.name} failed")
                log.write("quarantined", shard=outcome.shard.name, stage=outcome.shard.stage, error=outcome.error)
            else:
                manifest.add(outcome)
                computed += 1
                progress.advance(cost[outcome.shard], outcome.shard)
                log.write("finished", shard=outcome.shard, stage=outcome.stage, seconds=outcome.seconds)
    return computed, retried


def _publish_sites(bench: Workbench, manifest: Manifest) -> None:
    if "sites" in manifest.receipts:
        return
    sites = bench.generator.sites
    rows = {
        "site": [site.index for site in sites],
        **{name: [getattr(site, name) for site in sites] for name in ("name", "channels", "resolution")},
        "inert_channels": [list(site.inert_channels) for site in sites],
    }
    start = time.perf_counter()
    subject = audit_identity(bench).hash
    files = publish(manifest.storage, "all", {"sites": rows}, subject)
    seconds = round(time.perf_counter() - start, 3)
    manifest.add(Receipt("sites", "sites", (), (), files, seconds, "driver", subject[:HASH_DIGITS]))
