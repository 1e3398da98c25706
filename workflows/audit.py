"""One audit from spec to report: plan, run or resume, aggregate, report."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.specs import AuditSpec
from cawa_core.tables import Manifest, Receipt, publish
from workflows.aggregate import aggregate, is_current
from workflows.config import RunOptions
from workflows.execution import Failure
from workflows.executors import EXECUTORS
from workflows.folder import locked, open_folder
from workflows.plan import plan
from workflows.progress import ProgressReporter
from workflows.real_check import check_real_images
from workflows.report import report_shows, write_report
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.workbench import Workbench, checked_device


@dataclasses.dataclass(frozen=True)
class AuditResult:
    """How an audit ended.

    Attributes:
        folder: where it is.
        computed, reused: shards done now, and found done (of this spec's stages).
        quarantined: names of shards that failed for good.
        refreshed: whether tables or report were written anew.
        seconds: how long it took.
    """

    folder: Path
    computed: int
    reused: int
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
    folder = Path(options.output or Path("results") / bench.generator.name)
    if bench.generator.description:
        print(bench.generator.description, file=sys.stderr)
    if not (folder / "audit.json").exists():
        check_real_images(bench)
    open_folder(folder, bench.identity, options.device, bench.generator.class_names)
    with locked(folder):
        manifest = Manifest.read(folder)
        manifest.tidy()
        _publish_sites(bench, manifest)
        reused = len([receipt for receipt in manifest.receipts.values() if receipt.stage in STAGES])
        shards = plan(bench, manifest, options.classes_per_shard or None)
        computed = _run_shards(bench, options, manifest, shards)
        manifest.settle()
        refreshed = refresh(folder, manifest)
    failed = tuple(sorted(manifest.quarantined))
    return AuditResult(folder, computed, reused, failed, refreshed, time.monotonic() - start)


def driver_bench(spec: AuditSpec, options: RunOptions) -> Workbench:
    """What the driver needs to plan: under Ray its models stay on the CPU, and a cluster's devices are its own."""
    if options.executor == "ray":
        if not os.environ.get("RAY_ADDRESS"):
            checked_device(options.device)
        if options.device.startswith("cuda:"):
            raise InputError(
                f"device must be cpu or cuda under ray, which gives each worker its own GPU; got {options.device!r}"
            )
        return Workbench.build(spec, dataclasses.replace(options, device="cpu"))
    return Workbench.build(spec, options)


def refresh(folder: Path, manifest: Manifest) -> bool:
    """Bring derived tables, summary and report up to date with the stages' tables; says whether it had to."""
    if is_current(folder, manifest) and report_shows(folder):
        return False
    aggregate(folder, manifest)
    write_report(folder, manifest)
    return True


def _run_shards(bench: Workbench, options: RunOptions, manifest: Manifest, shards: list[Shard]) -> int:
    if not shards:
        return 0
    computed, cost = 0, {shard.name: shard.cost for shard in shards}
    executor = EXECUTORS.make(options.executor)
    with ProgressReporter(f"auditing {bench.generator.name}", sum(cost.values())) as progress:
        for outcome in executor.run(bench, options, manifest.folder, shards):
            if isinstance(outcome, Failure):
                manifest.quarantine(outcome.shard.name, outcome.error)
                progress.advance(outcome.shard.cost, f"{outcome.shard.name} failed")
            else:
                manifest.add(outcome)
                computed += 1
                progress.advance(cost[outcome.shard], outcome.shard)
    return computed


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
    files = publish(manifest.folder, "all", {"sites": rows}, bench.identity.hash)
    manifest.add(Receipt("sites", "sites", (), (), files, round(time.perf_counter() - start, 3), "driver"))
