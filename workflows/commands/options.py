"""Options that the commands of analyses share: those of models and devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from cawa_core.options import validated
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions, merged_options

MODEL_OPTIONS = (
    "generator",
    "evaluator",
    "truncation",
    "truncation_statistics",
    "seed",
    "dtype",
    "device",
    "batch_size",
    "weights",
    "cache",
    "offline",
)
"""Fields of AuditSpec and RunOptions that every command honours."""
UNSCORED_OPTIONS = tuple(name for name in MODEL_OPTIONS if name != "evaluator")
"""Options of commands that use no classifier."""

SpecFile = Annotated[Path | None, typer.Option(help="TOML file with options for models and devices.")]
Classes = Annotated[str, typer.Argument(help="Classes by index, name or WordNet id, separated by commas; or all.")]

CommandOptions = TypeVar("CommandOptions")


def merged_command(
    kind: type[CommandOptions], file: Path | None, flags: Mapping[str, Any]
) -> tuple[CommandOptions, AuditSpec, RunOptions]:
    """Merge flags (None: not given) with a TOML file for the models into the options of a command, audit and run.

    Raises:
        InputError: no such file, an unknown key, a wrong type or a value out of range.
    """
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in flags.items() if name in names and value is not None}
    options: CommandOptions = validated(kind, given)
    return options, *merged_options(file, {name: value for name, value in flags.items() if name not in names})
