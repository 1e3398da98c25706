"""The results of a run, on disk after every step."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from cawa_core.storage.plain_data import plain

Status = Literal["running", "done", "failed", "skipped"]
Figures = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Check:
    """A measured value and the bound that it must keep.

    Attributes:
        name: what was measured.
        value: the measured value; NaN breaks every bound.
        bound: largest (or, with ``at_least``, smallest) value that is right.
        at_least: whether ``bound`` is a lower bound.
    """

    name: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def as_data(self) -> dict[str, Any]:
        """Plain JSON-able data; a value that is no number is null."""
        value = self.value if math.isfinite(self.value) else None
        return dataclasses.asdict(self) | {"value": value, "holds": self.holds}

    def __str__(self) -> str:
        relation = (">=" if self.at_least else "<=") if self.holds else ("NOT >=" if self.at_least else "NOT <=")
        return f"{self.name}: {self.value:.3g} {relation} {self.bound:.3g}"


@dataclasses.dataclass(frozen=True)
class Findings:
    """The results of a step: checks against bounds, and figures without a bound."""

    checks: tuple[Check, ...] = ()
    figures: Figures = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """A step of a run.

    Attributes:
        name: of the step.
        status: ``running`` in a file that was cut off there.
        seconds: how long it took.
        reason: why it was skipped or failed.
        findings: what it has shown.
    """

    name: str
    status: Status
    seconds: float = 0.0
    reason: str = ""
    findings: Findings = Findings()

    @property
    def holds(self) -> bool:
        """Whether it neither failed nor broke a bound."""
        return self.status != "failed" and all(check.holds for check in self.findings.checks)

    def as_data(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {
            "name": self.name,
            "status": self.status,
            "seconds": round(self.seconds, 2),
            "reason": self.reason,
            "checks": [check.as_data() for check in self.findings.checks],
            "figures": dict(self.findings.figures),
        }


def as_markdown(content: Mapping[str, Any]) -> str:
    """The section of docs/benchmarks.md about a recorded run: the machine, the bounds, the figures, what is missing."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    lines = [f"{machine}; {content['sizes']} sizes; {content['started']}.", "", "| step | what | value | bound |"]
    lines.append("|---|---|---|---|")
    for step in content["steps"]:
        for check in step["checks"]:
            value = "none" if check["value"] is None else f"{check['value']:.3g}"
            bound = f"{'at least' if check['at_least'] else 'at most'} {check['bound']:.3g}"
            missed = "" if check["holds"] else ", **missed**"
            lines.append(f"| {step['name']} | {check['name']} | {value} | {bound}{missed} |")
        figures = {name: value for name, value in step["figures"].items() if not isinstance(value, list)}
        lines += [f"| {step['name']} | {name} | {_shown(value)} | |" for name, value in figures.items()]
    incomplete = [step for step in content["steps"] if step["status"] != "done"]
    reasons = [f"- {step['name']}: {step['status']}, {step['reason']}" for step in incomplete]
    return "\n".join([*lines, *(["", *reasons] if reasons else [])]) + "\n"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Recorder:
    """Keeps the records of a run in a JSON file that is whole at any moment.

    Args:
        path: of the file, replaced at every change.
        description: of the run: device, versions, sizes.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self.path = path
        self._description = dict(description)
        self.records: list[StepRecord] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(complete=False)

    def begin(self, name: str) -> None:
        """Say that a step runs."""
        self.records.append(StepRecord(name, "running"))
        self._write(complete=False)

    def end(self, record: StepRecord) -> None:
        """Replace the running step by what became of it."""
        self.records[-1] = record
        self._write(complete=False)

    def complete(self) -> None:
        """Say that no step is left."""
        self._write(complete=True)

    def _write(self, *, complete: bool) -> None:
        content = self._description | {"complete": complete, "steps": [record.as_data() for record in self.records]}
        temporary = self.path.with_name(f".{self.path.name}.part")
        temporary.write_text(json.dumps(plain(content), indent=1), encoding="utf-8")
        os.replace(temporary, self.path)  # noqa: PTH105
