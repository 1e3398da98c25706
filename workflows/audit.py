"""One audit from spec to report: plan, run or resume, aggregate, report."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path

from cawa_core import __version__
from cawa_core.errors import InputError
from cawa_core.specs import AuditSpec, validated
from cawa_core.tables import Manifest, Receipt, Rows, publish, write_atomically
from workflows.aggregate import derived_tables
from workflows.config import RunOptions
from workflows.execution import Failure
from workflows.executors import EXECUTORS
from workflows.folder import locked, open_folder, read_audit
from workflows.plan import plan
from workflows.progress import ProgressReporter
from workflows.real_check import check_real_images
from workflows.report import report_shows, write_report
from workflows.shards import Shard
from workflows.stages import STAGES
from workflows.summary import summarise
from workflows.workbench import Workbench, checked_device

DERIVED = "aggregate"
"""Stage name of the derived tables in the manifest."""


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
    if _is_current(folder, manifest):
        return False
    aggregate(folder, manifest)
    write_report(folder, manifest)
    return True


def aggregate(folder: Path, manifest: Manifest) -> None:
    """Write the derived tables and ``summary.json`` anew."""
    audit = read_audit(folder)
    spec: AuditSpec = validated(AuditSpec, audit["identity"]["spec"])
    start = time.perf_counter()
    _publish_as_driver(manifest, DERIVED, derived_tables(manifest, spec), start, audit["hash"])
    summary = summarise(manifest, audit, spec) | {"cawa": __version__, "tables_digest": manifest.digest(DERIVED)}
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1).encode())


def _is_current(folder: Path, manifest: Manifest) -> bool:
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    digest = manifest.digest(DERIVED)
    up_to_date = summary.get("tables_digest") == digest and summary.get("cawa") == __version__
    same_quarantine = summary.get("quarantined") == sorted(manifest.quarantined)
    return up_to_date and same_quarantine and DERIVED in manifest.receipts and report_shows(folder, summary)


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
    _publish_as_driver(manifest, "sites", {"sites": rows}, time.perf_counter(), bench.identity.hash)


def _publish_as_driver(manifest: Manifest, name: str, tables: dict[str, Rows], start: float, audit: str) -> None:
    files = publish(manifest.folder, "all", tables, audit)
    manifest.add(Receipt(name, name, (), (), files, round(time.perf_counter() - start, 3), "driver"))
