"""One audit from spec to report: plan, run or resume, aggregate, report."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from cawa_core.errors import InputError, last_line
from cawa_core.specs import AuditSpec
from cawa_core.storage import Storage, open_storage
from cawa_core.tables import Manifest, Receipt, publish
from workflows.config import RunOptions
from workflows.events import EventLog, event_log
from workflows.execution import Failure, Outcome, Retry
from workflows.executors import EXECUTORS
from workflows.folder import AUDIT, open_folder, require_folder_for
from workflows.plan import plan
from workflows.progress import ProgressReporter
from workflows.real_check import check_real_images
from workflows.shards import Shard
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
        refreshed: whether tables or report were written anew.
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
    bench = driver_bench(spec, options)
    storage = open_storage(options.output or Path("results") / bench.generator.name, options.storage_patience)
    if bench.generator.description:
        print(bench.generator.description, file=sys.stderr)
    if not storage.exists(AUDIT):
        check_real_images(bench)
    name = {"audit": bench.identity.hash[:12], "generator": bench.generator.name}
    with event_log(options.log, **name) as log:
        require_folder_for(storage, bench.identity)  # nothing is written into a folder of others, no lock either
        with storage.locked():
            open_folder(storage, bench.identity, options.device, bench.generator.class_names)
            return _done(bench, options, storage, log, start)


def _done(bench: Workbench, options: RunOptions, storage: Storage, log: EventLog, start: float) -> AuditResult:
    """What is missing of an audit, in a folder that is ours."""
    manifest = Manifest.read(storage)
    manifest.tidy()
    _publish_sites(bench, manifest)
    reused = len([receipt for receipt in manifest.receipts.values() if receipt.stage in STAGES])
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
        refreshed = refresh(manifest)
    failed, seconds = tuple(sorted(manifest.quarantined)), time.monotonic() - start
    log.write("done", computed=computed, retried=retried, quarantined=failed, seconds=round(seconds, 3))
    return AuditResult(storage, computed, reused, retried, failed, refreshed, seconds)


def driver_bench(spec: AuditSpec, options: RunOptions) -> Workbench:
    """What the driver needs to plan: under Ray its models stay on the CPU, and a cluster's devices are its own."""
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
    files = publish(manifest.storage, "all", {"sites": rows}, bench.identity.hash)
    manifest.add(Receipt("sites", "sites", (), (), files, round(time.perf_counter() - start, 3), "driver"))
