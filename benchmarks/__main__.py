"""Measure every step of the pipeline, print the ratios and write them as JSON: ``make bench``.

``python -m benchmarks awareness masking`` measures only these steps. Run it on an idle machine.
``python -m benchmarks gpu`` checks and measures everything that runs on a GPU: see :mod:`benchmarks.gpu`.
``python -m benchmarks planted FOLDER`` writes a generator with planted faults: see :mod:`benchmarks.planted`.
``python -m benchmarks --table results/benchmarks.json`` prints a written file as the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import Result

STEPS = (
    "awareness",
    "masking",
    "screening",
    "sampling",
    "class_metrics",
    "dissection",
    "semantics",
    "latents",
    "aggregation",
    "workers",
    "scheduling",
)
"""Modules of this package that measure a step, in the order of the pipeline."""


def main() -> None:
    """Measure the steps, print each result and write the file; a ratio below its goal is marked as missed."""
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks.gpu.script import main as run_on_gpu

        sys.exit(run_on_gpu(sys.argv[2:]))
    if sys.argv[1:2] == ["planted"]:
        from benchmarks.planted.prepare import main as prepare_planted

        sys.exit(prepare_planted(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help=f"Steps to measure, among {', '.join(STEPS)}; by default all."
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/benchmarks.json"),
        help="File of the results; default %(default)s.",
    )
    parser.add_argument("--table", type=Path, metavar="JSON", help="Measure nothing; print a written file as Markdown.")
    arguments = parser.parse_args()
    if arguments.table:
        print(as_markdown(json.loads(arguments.table.read_text(encoding="utf-8"))), end="")
        return
    for step in arguments.steps:
        if step not in STEPS:
            parser.error(f"STEP must be among {', '.join(STEPS)}; got {step!r}")
    results: list[Result] = []
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for step in arguments.steps or STEPS:
        for result in importlib.import_module(f"benchmarks.{step}").run():
            print(as_line(result), flush=True)
            results.append(result)
            content = {"machine": machine(), "results": [result.as_data() for result in results]}
            arguments.output.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(f"written to {arguments.output}")


def as_line(result: Result) -> str:
    """Format a result as ``work, against counterpart: ratio (spread), goal; times; other figures``."""
    spread = f" ({min(result.ratios):.3g} to {max(result.ratios):.3g})" if len(result.ratios) > 1 else ""
    goal = "" if result.at_least is None else f", at least {result.at_least:g}"
    times = "" if result.seconds is None else f"; {result.seconds:.3g} s against {result.counterpart_seconds:.3g} s"
    facts = "".join(f"; {name} {value:.4g}" for name, value in result.facts.items())
    bounds = "".join(f"; {name} {value:.4g} of {limit:g}" for name, (value, limit) in result.bounds.items())
    missed = "" if result.reached else "  MISSED"
    return (
        f"{result.work}, against {result.counterpart}: {result.ratio:.3g}x in {result.unit}{spread}{goal}"
        f"{times}{facts}{bounds}{missed}"
    )


def as_markdown(content: Mapping[str, Any]) -> str:
    """Format what ``main`` wrote as a table with one row per result."""
    lines = ["| work | against | ratio: median (spread) | at least |", "|---|---|---|---|"]
    for row in content["results"]:
        spread = f" ({row['ratio_min']:.3g} to {row['ratio_max']:.3g})" if len(row["ratios"]) > 1 else ""
        unit = "" if row["unit"] == "wall time" else f" in {row['unit']}"
        bounds = [f"{name}: {value:.3g}, limit {limit:g}" for name, (value, limit) in row["bounds"].items()]
        goal = "; ".join([*([] if row["at_least"] is None else [f"{row['at_least']:g}"]), *bounds])
        missed = "" if row["reached"] else ", **missed**"
        lines.append(f"| {row['work']} | {row['counterpart']} | {row['ratio']:.3g}{unit}{spread} | {goal}{missed} |")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, str | int]:
    """Describe the machine and the versions that the measurements depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "cpu": model,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
