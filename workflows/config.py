"""Options from ``audit.toml`` and the command line into one spec and one set of run options."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cawa_core.errors import InputError, suggestion
from cawa_core.specs import AuditSpec, option, validated


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How an audit is run: nothing here changes a number beyond rounding."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    output: str = option("", "Audit folder; results/GENERATOR when left out.")
    executor: Literal["ray", "inline"] = option("ray", "Where shards run: ray (all cores, or RAY_ADDRESS) or inline.")
    workers: Annotated[int, Field(ge=0)] = option(0, "Ray workers; 0: one for each GPU or CPU.")
    device: str = option("cpu", "Device of the models: cpu, cuda, cuda:N or mps.")
    batch_size: Annotated[int, Field(ge=1)] = option(
        32, "Images to a forward pass; larger suits GPUs, small ones the cache of a CPU."
    )
    classes_per_shard: Annotated[int, Field(ge=0)] = option(0, "Classes to a shard; 0: what suits each stage.")
    start_timeout: Annotated[float, Field(gt=0)] = option(300.0, "Seconds to wait for the first worker.")


def merged_options(file: Path | None, flags: Mapping[str, Any]) -> tuple[AuditSpec, RunOptions]:
    """Spec and run options from a TOML file overridden by flags (None: not given).

    Raises:
        InputError: no such file, not TOML, an unknown key, a wrong type or a value out of range.
    """
    values = read_toml(file) if file else {}
    values |= {name: value for name, value in flags.items() if value is not None}
    run_names = {field.name for field in dataclasses.fields(RunOptions)}
    spec_names = {field.name for field in dataclasses.fields(AuditSpec)}
    for key in values:
        if key not in run_names | spec_names:
            where = f" in {file}" if file else ""
            known = ", ".join(sorted(spec_names | run_names))
            raise InputError(
                f"unknown option {key!r}{where}{suggestion(key, spec_names | run_names)}; allowed: {known}"
            )
    spec = validated(AuditSpec, {key: value for key, value in values.items() if key in spec_names})
    options = validated(RunOptions, {key: value for key, value in values.items() if key in run_names})
    return spec, options


def read_toml(file: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises:
        InputError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InputError(f"spec file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"spec file {file} is not TOML: {error}") from None
