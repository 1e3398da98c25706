"""What Ray costs and what a second worker gives: the same small audit, command to report, in this process's machine.

Each run is ``cawa audit`` in a process of its own and a fresh folder, imports and report included. All of them have
the same cores: one worker computes with all of them, as ``inline`` does, and two share them.

A machine's speed may drift between two runs by more than Ray costs. So one worker is compared twice: command against
command, and with the shards of both counted alike: what is around them, start, waiting, recording, report and end,
beside the inline run's shards.
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

ONE = "Ray, one worker"
WAYS = {
    "inline": ("--executor=inline",),
    ONE: ("--executor=ray", "--workers=1"),
    "Ray, two workers": ("--executor=ray", "--workers=2"),
}
WORK = ("--classes=0,1,2,3", "--stages=awareness,masking,class_metrics,gallery")
"""About a minute of it on two cores."""
REPEATS = 4
LARGEST_OVERHEAD = 0.1


@dataclasses.dataclass(frozen=True)
class Run:
    """One audit: seconds of the whole command, and of the shards in it."""

    whole: float
    shards: float

    @property
    def around(self) -> float:
        """What is not shards."""
        return self.whole - self.shards


def audit(*options: str) -> Run:
    """One audit of the bundled generator in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "audit"
        command = [sys.executable, "-m", "workflows", "audit", *WORK, f"--output={folder}", *options]
        whole = seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))
        receipts = Manifest.read(open_storage(folder)).receipts.values()
        return Run(whole, sum(one.seconds for one in receipts if one.stage in ANALYSES.computed))


def run() -> Iterator[Result]:
    """All ways in turn, then backwards, so that a machine that slows down favours none."""
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    for repeat in range(REPEATS):
        for way in list(WAYS)[:: -1 if repeat % 2 else 1]:
            runs[way].append(audit(*WAYS[way]))
    inline = [one.whole for one in runs["inline"]]
    for way in list(WAYS)[1:]:
        own = [one.whole for one in runs[way]]
        yield _result(f"an audit of four classes, {way}", own, inline, way == ONE)
    work = statistics.median(one.shards for one in runs["inline"])
    own, theirs = ([work + one.around for one in runs[way]] for way in (ONE, "inline"))
    yield _result(f"an audit of four classes, {ONE}, shards counted alike", own, theirs, has_goal=True)


def _result(what: str, own: Sequence[float], inline: Sequence[float], has_goal: bool) -> Result:
    return Result(
        what,
        "the same, inline",
        tuple(there / here for there, here in zip(inline, own, strict=True)),
        at_least=1 / (1 + LARGEST_OVERHEAD) if has_goal else None,
        seconds=statistics.median(own),
        counterpart_seconds=statistics.median(inline),
    )
