"""The steps of a run, in the order in which they matter, and the loop that does them in the time there is."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu import conformance, speed
from benchmarks.gpu.device import describe, free_gigabytes
from benchmarks.gpu.results import Findings, Recorder, StepRecord, as_markdown
from benchmarks.gpu.session import BIGGAN, BUNDLED, DEEP_128, DEEP_256, FULL, SMALL, Session
from cawa_core.errors import InputError
from cawa_core.numerics.arithmetic import use_exact_kernels
from workflows.lab.opening import checked_device


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to show.

    Attributes:
        name: in the results and on the command line.
        run: does it.
        seconds: that it is likely to take on a GPU and, small, on a CPU: it is skipped where less is left.
        gigabytes: of free memory that it needs on a GPU.
    """

    name: str
    run: Callable[[Session], Findings]
    seconds: tuple[float, float]
    gigabytes: float = 2.0


def _masks(name: str, *precisions: str) -> Callable[[Session], Findings]:
    return partial(speed.masks_against_loop, name=name, precisions=precisions)


STEPS = (
    Step("launches", speed.launches, (20, 20)),
    Step("audit", conformance.audit_conformance, (40, 40)),
    Step(DEEP_128, partial(conformance.model_conformance, name=DEEP_128), (40, 15), 6),
    Step(f"masks {DEEP_128}", _masks(DEEP_128, "float32", "tf32", "bfloat16"), (60, 15), 12),
    Step(f"profile {DEEP_128}", partial(speed.masking_profile, name=DEEP_128), (30, 15), 12),
    Step("closed form", speed.closed_form, (40, 15)),
    Step("memory cap", conformance.memory_cap, (20, 15), 16),
    Step("screening twice", conformance.repeated_screening, (15, 15), 6),
    Step(f"masks {BUNDLED}", _masks(BUNDLED, "float32", "bfloat16"), (20, 15)),
    Step(f"profile {BUNDLED}", partial(speed.masking_profile, name=BUNDLED), (10, 10)),
    Step("tests", conformance.cuda_tests, (40, 20)),
    Step(BIGGAN, partial(conformance.model_conformance, name=BIGGAN), (40, 15), 6),
    Step(DEEP_256, partial(conformance.model_conformance, name=DEEP_256), (50, 20), 8),
    Step("screening", speed.screening, (20, 15), 24),
    Step("layouts", speed.layouts, (20, 10), 8),
    Step("regression", speed.regression, (10, 20)),
    Step(f"class metrics {BUNDLED}", partial(speed.class_metrics, name=BUNDLED), (30, 15)),
    Step("ray", speed.ray_against_inline, (60, 60)),
    Step(f"masks {DEEP_256}", _masks(DEEP_256, "float32", "bfloat16"), (60, 20), 16),
    Step(f"class metrics {DEEP_128}", partial(speed.class_metrics, name=DEEP_128), (60, 20), 12),
)
"""Steps in the order in which they matter: are the numbers right, and is masking fast?"""


def main(arguments: Sequence[str]) -> int:
    """Run the steps; 1 where one failed or broke a bound, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__.splitlines()[0])
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help=f"only these: {', '.join(step.name for step in STEPS)}"
    )
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a rehearsal on small sizes (default: cuda)")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all steps (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("results/gpu.json"), help="results (default: %(default)s)")
    parser.add_argument("--table", type=Path, metavar="JSON", help="measure nothing: print results as Markdown")
    chosen = parser.parse_args(arguments)
    if chosen.table:
        print(as_markdown(json.loads(chosen.table.read_text(encoding="utf-8"))), end="")
        return 0
    known = {step.name: step for step in STEPS}
    for name in chosen.steps:
        if name not in known:
            parser.error(f"STEP must be among {', '.join(known)}; got {name!r}")
    try:
        device = checked_device(chosen.device)
    except InputError as error:
        parser.error(f"--{error}")
    if chosen.minutes <= 0:
        parser.error(f"--minutes must be above 0; got {chosen.minutes:g}")
    steps = [known[name] for name in chosen.steps] or list(STEPS)
    with tempfile.TemporaryDirectory(prefix="cawa-gpu-") as folder:
        sizes = FULL if device.type == "cuda" else SMALL
        deadline = time.monotonic() + 60 * chosen.minutes
        session = Session(device, sizes, Path(folder), deadline)
        records = run_steps(session, steps, chosen.out)
    print(f"written to {chosen.out}")
    return 0 if all(record.holds for record in records) else 1


def run_steps(session: Session, steps: Sequence[Step], out: Path) -> list[StepRecord]:
    """Do the steps one after the other; the file is whole after each, and says which one runs."""
    use_exact_kernels()
    description = {
        "machine": describe(session.device),
        "sizes": "full" if session.sizes is FULL else "small",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "minutes": round(session.seconds_left / 60, 2),
    }
    recorder = Recorder(out, description)
    for step in steps:
        recorder.begin(step.name)
        record = _done(session, step)
        recorder.end(record)
        print(as_text(record), flush=True)
        if session.device.type == "cuda":
            torch.cuda.empty_cache()
    recorder.complete()
    return recorder.records


def _done(session: Session, step: Step) -> StepRecord:
    lacking = _lacking(session, step)
    if lacking:
        return StepRecord(step.name, "skipped", reason=lacking)
    start = time.monotonic()
    try:
        findings = step.run(session)
    except torch.OutOfMemoryError as error:
        return StepRecord(step.name, "skipped", time.monotonic() - start, f"out of memory: {_last_line(error)}")
    except Exception as error:  # one broken step must not cost the others their time on a GPU
        traceback.print_exc()
        return StepRecord(step.name, "failed", time.monotonic() - start, f"{type(error).__name__}: {_last_line(error)}")
    return StepRecord(step.name, "done", time.monotonic() - start, findings=findings)


def _lacking(session: Session, step: Step) -> str:
    """Why there is no point in beginning a step; empty where there is."""
    seconds = step.seconds[session.device.type == "cpu"]
    if session.seconds_left < seconds:
        return f"needs about {seconds:g} s; {max(0, session.seconds_left):.0f} s are left"
    if session.device.type == "cuda" and free_gigabytes(session.device) < step.gigabytes:
        return f"needs about {step.gigabytes:g} GB; {free_gigabytes(session.device):.1f} GB are free"
    return ""


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1]


def as_text(record: StepRecord) -> str:
    """A step in a few lines."""
    head = f"{record.name}: {record.status}, {record.seconds:.1f} s {record.reason}".rstrip()
    figures = [f"  {name}: {_short(value)}" for name, value in record.findings.figures.items()]
    return "\n".join([head, *(f"  {check}" for check in record.findings.checks), *figures])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
