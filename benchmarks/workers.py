"""What Ray costs and what a second worker gives: the same small audit, command to report, in this process's machine.

Each run is ``cawa audit`` in a process of its own and a fresh folder, imports and report included. All of them have
the same cores: one worker computes with all of them, as ``inline`` does, and two share them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import Result, seconds_of

WAYS = {
    "inline": ("--executor=inline",),
    "Ray, one worker": ("--executor=ray", "--workers=1"),
    "Ray, two workers": ("--executor=ray", "--workers=2"),
}
CLASSES = "0,1,2,3"
"""About a minute of work on two cores."""
REPEATS = 2
LARGEST_OVERHEAD = 0.1


def audit(*options: str) -> None:
    """One audit of the bundled generator in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        chosen = [f"--classes={CLASSES}", f"--output={Path(name) / 'audit'}", *options]
        subprocess.run([sys.executable, "-m", "workflows", "audit", *chosen], check=True, capture_output=True)


def run() -> Iterator[Result]:
    """All ways in turn, then backwards, so that a machine that slows down favours none."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for repeat in range(REPEATS):
        for way in list(WAYS)[:: -1 if repeat % 2 else 1]:
            seconds[way].append(seconds_of(lambda options=WAYS[way]: audit(*options)))
    inline = seconds["inline"]
    for way in list(WAYS)[1:]:
        ratios = [there / here for there, here in zip(inline, seconds[way], strict=True)]
        ours, theirs = statistics.median(seconds[way]), statistics.median(inline)
        yield Result(
            f"an audit of four classes, {way}",
            "the same, inline",
            tuple(ratios),
            at_least=1 / (1 + LARGEST_OVERHEAD) if way == "Ray, one worker" else None,
            seconds=ours,
            counterpart_seconds=theirs,
        )
