"""What the applications' sheets and the files beside them have in common."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cawa_core import __version__
from cawa_core.errors import InputError
from cawa_core.plain_data import plain
from cawa_core.statistics.standard_errors import standard_error
from cawa_core.storage import Storage, StorageError, open_storage
from workflows.execution import within_memory
from workflows.identity import audit_identity
from workflows.progress import ProgressReporter
from workflows.workbench import Workbench

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MOST_ROWS = 60
"""Rows of pictures on a sheet."""

Advance = Callable[[float], None]
"""Takes how much more is done."""
Item = TypeVar("Item")
Found = TypeVar("Found")


def require_rows(latents: int, groups: int, what: str) -> None:
    """Check that a sheet does not get too long.

    Raises:
        InputError: more than ``MOST_ROWS`` rows of pictures, ``latents`` for each of ``groups``.
    """
    if groups > MOST_ROWS:
        raise InputError(
            f"{what} must be at most {MOST_ROWS} to a sheet, a row of pictures each; got {groups}: name fewer, or for "
            "all classes use `cawa audit --stages masking,gallery,segmentation,hybrids,edits`"
        )
    if latents * groups > MOST_ROWS:
        raise InputError(
            f"latents must be at most {MOST_ROWS // groups} for {groups} {what}: a sheet has up to {MOST_ROWS} rows of "
            f"pictures; got {latents}"
        )


def opened_output(output: str, bench: Workbench, what: str) -> Storage:
    """Where a sheet will be, once a file could be written there; called before what takes long.

    Args:
        output: path or URL; ``results/GENERATOR-what`` where it is empty.
        bench: names the generator.
        what: the command's result in one word.

    Raises:
        InputError: no place for files.
    """
    storage = open_storage(output or Path("results") / f"{bench.generator.name}-{what}")
    try:
        storage.probe()
    except StorageError as error:
        raise InputError(f"output cannot be written: {error}; mend it or choose another --output") from None
    return storage


def computed(
    bench: Workbench,
    doing: str,
    items: Sequence[Item],
    work: Callable[[Item, Advance], Found],
    size: float = 1,
    unit: str = "pictures",
) -> list[Found]:
    """What each item gives in the spec's arithmetic, with progress on stderr and smaller batches as memory runs out.

    Args:
        bench: its batch size is halved where the device has too little memory.
        doing: what is done, for the progress.
        items: one after another.
        work: done again from the start where memory ran out; may say on the way how much of an item is done.
        size: of an item, in units.
        unit: what is counted, in the plural.

    Raises:
        torch.OutOfMemoryError: one picture at a time is too many.
    """
    found: list[Found] = []
    with ProgressReporter(f"{doing} {bench.generator.name}", len(items) * size, unit) as progress:
        for item in items:
            found.append(within_memory(bench, functools.partial(work, item, progress.advance)))
            progress.advance(len(found) * size - progress.done)
    return found


def provenance(bench: Workbench, options: DataclassInstance) -> dict[str, Any]:
    """What made the pictures and the numbers: generator, seed, and the whole identity, as of an audit.

    Args:
        bench: the models.
        options: the command's own; where the sheet goes is left out.
    """
    own = dataclasses.asdict(options)
    return {
        "generator": {"name": bench.generator.name, "digest": bench.generator.digest},
        "seed": bench.spec.seed,
        "cawa": __version__,
        "identity": audit_identity(bench).as_data(),
        "options": {name: value for name, value in own.items() if name != "output"},
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


def probability_in_words(after: float, before: float | None = None) -> str:
    """A probability for a caption, with how far it is from the one before in brackets."""
    return f"p = {after:.2f}" + ("" if before is None else f" ({change_in_words(after - before, 2)})")


def change_in_words(change: float, digits: int, stderr: float = float("nan")) -> str:
    """A signed change, with its standard error where that is known."""
    signed = f"{round(change, digits) + 0.0:+.{digits}f}".replace("-", "−")  # + 0.0: no minus before zero
    return signed + (f" ± {stderr:.{digits}f}" if np.isfinite(stderr) else "")
