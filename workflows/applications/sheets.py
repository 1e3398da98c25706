"""What the applications' sheets and the files beside them have in common."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.errors import InputError
from cawa_core.plain_data import plain
from cawa_core.statistics.intervals import standard_error
from workflows.workbench import Workbench

MOST_ROWS = 60
"""Rows of pictures on a sheet."""


def require_rows(latents: int, groups: int, what: str) -> None:
    """Check that a sheet does not get too long.

    Raises:
        InputError: more than ``MOST_ROWS`` rows of pictures, ``latents`` for each of ``groups``.
    """
    if latents * groups > MOST_ROWS:
        raise InputError(
            f"latents must be at most {MOST_ROWS // groups} for {groups} {what}: a sheet has up to {MOST_ROWS} rows of "
            f"pictures; got {latents}"
        )


def provenance(bench: Workbench) -> dict[str, Any]:
    """What made the pictures: generator and seed."""
    return {
        "generator": {"name": bench.generator.name, "digest": bench.generator.digest},
        "seed": bench.spec.seed,
    }


def as_json(description: dict[str, Any]) -> bytes:
    """For the file beside a sheet; null for what is no number."""
    return json.dumps(plain(description), indent=1, allow_nan=False).encode()


def mean_and_error(values: NDArray[np.float64]) -> dict[str, float]:
    """For a file."""
    return {"mean": float(values.mean()), "stderr": standard_error(values)}


def mean_in_words(values: NDArray[np.float64]) -> str:
    """For a sheet."""
    error = f" ± {standard_error(values):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{error}"
