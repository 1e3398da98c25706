"""Measure what Ray costs and what a second worker saves, on the same small audit from command to report.

Each run is ``cawa audit`` in a new process and a new folder, imports and report included. All runs have the same cores:
one worker computes with all of them, as ``inline`` does, and two workers share them.

The speed of a machine may drift between two runs by more than Ray costs. One worker is therefore compared twice: by the
time of the whole command, and with the shards of both runs counted equally, so that only start, waiting, recording,
report and exit differ.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.results import Result, seconds_of
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from workflows.analyses import ANALYSES

ONE_WORKER = "Ray, one worker"
EXECUTORS = {
    "inline": ("--executor=inline",),
    ONE_WORKER: ("--executor=ray", "--workers=1"),
    "Ray, two workers": ("--executor=ray", "--workers=2"),
}
AUDIT_OPTIONS = ("--classes=0,1,2,3", "--stages=awareness,masking,class_metrics,gallery")
"""Options of an audit that takes about a minute on two cores."""
REPEATS = 4
LARGEST_OVERHEAD = 0.1


@dataclasses.dataclass(frozen=True)
class Run:
    """Times of one audit, in seconds.

    Attributes:
        whole: time of the whole command.
        shards: time of its shards.
    """

    whole: float
    shards: float

    @property
    def overhead(self) -> float:
        """Time outside the shards."""
        return self.whole - self.shards


def audit(*options: str) -> Run:
    """Audit the bundled generator in a new folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "audit"
        command = [sys.executable, "-m", "workflows", "audit", *AUDIT_OPTIONS, f"--output={folder}", *options]
        whole = seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))
        receipts = Manifest.read(open_storage(folder)).receipts.values()
        return Run(whole, sum(receipt.seconds for receipt in receipts if receipt.stage in ANALYSES.computed))


def run() -> Iterator[Result]:
    """Run all executors in turn, then backwards, so that a machine that slows down favours none."""
    runs: dict[str, list[Run]] = {executor: [] for executor in EXECUTORS}
    for repeat in range(REPEATS):
        for executor in list(EXECUTORS)[:: -1 if repeat % 2 else 1]:
            runs[executor].append(audit(*EXECUTORS[executor]))
    inline = [audit_run.whole for audit_run in runs["inline"]]
    for executor in list(EXECUTORS)[1:]:
        ray = [audit_run.whole for audit_run in runs[executor]]
        yield _result(f"an audit of four classes, {executor}", ray, inline, executor == ONE_WORKER)
    shards = statistics.median(audit_run.shards for audit_run in runs["inline"])
    ray = [shards + audit_run.overhead for audit_run in runs[ONE_WORKER]]
    inline = [shards + audit_run.overhead for audit_run in runs["inline"]]
    yield _result(f"an audit of four classes, {ONE_WORKER}, shards counted alike", ray, inline, has_goal=True)


def _result(work: str, ray: Sequence[float], inline: Sequence[float], has_goal: bool) -> Result:
    return Result(
        work,
        "the same, inline",
        tuple(inline_seconds / ray_seconds for inline_seconds, ray_seconds in zip(inline, ray, strict=True)),
        at_least=1 / (1 + LARGEST_OVERHEAD) if has_goal else None,
        seconds=statistics.median(ray),
        counterpart_seconds=statistics.median(inline),
    )
