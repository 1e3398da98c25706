"""Helpers that the applications share for their sheets and the JSON files beside them."""

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
from cawa_core.statistics.standard_errors import standard_error
from cawa_core.storage import Storage, StorageError, open_storage
from cawa_core.storage.plain_data import plain
from workflows.folders.identity import identity_of
from workflows.lab import Lab
from workflows.lab.trial import require_pass
from workflows.options.audit import AuditSpec
from workflows.running.execution import within_memory
from workflows.running.progress import ProgressReporter

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MOST_ROWS = 60
"""Maximum rows of pictures per sheet."""

Advance = Callable[[float], None]
"""Callback that takes the amount of work finished since its last call."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def require_rows(latents: int, groups: int, what: str) -> None:
    """Check that a sheet is not too long.

    Raises:
        InputError: ``latents`` rows for each of ``groups`` are more than ``MOST_ROWS`` rows of pictures.
    """
    if groups > MOST_ROWS:
        raise InputError(
            f"{what} must be at most {MOST_ROWS} per sheet, with one row of pictures each; got {groups}: name fewer, "
            "or for all classes use `cawa audit`"
        )
    if latents * groups > MOST_ROWS:
        raise InputError(
            f"latents times {what} must be at most {MOST_ROWS}, the rows of pictures on a sheet; got {latents} x "
            f"{groups}: give at most {MOST_ROWS // groups} latents"
        )


def opened_output(output: str, lab: Lab, what: str) -> Storage:
    """Open the folder of a sheet and check that it is writable and the models fit, before any long computation.

    Args:
        output: path or URL; ``results/GENERATOR-what`` if empty.
        lab: lab whose generator names the default folder.
        what: one word for the command's result, used in the default folder.

    Raises:
        InputError: the folder is not writable, or the models do not fit together.
    """
    require_pass(lab)
    storage = open_storage(output or Path("results") / f"{lab.generator.name}-{what}")
    try:
        storage.probe()
    except StorageError as error:
        raise InputError(f"output cannot be written: {error}; fix this or choose another --output") from None
    return storage


def computed(
    lab: Lab,
    doing: str,
    items: Sequence[Item],
    work: Callable[[Item, Advance], Result],
    size: float = 1,
    unit: str = "pictures",
) -> list[Result]:
    """Process items in the spec's arithmetic, with progress on stderr; halve the batch size if memory runs out.

    Args:
        lab: lab whose batch size is halved if the device runs out of memory.
        doing: phrase that the progress line begins with, such as "masking".
        items: processed one after another.
        work: function of an item and a progress callback; restarted for that item after an out-of-memory error.
        size: units of work per item.
        unit: name of the unit, in the plural.

    Raises:
        torch.OutOfMemoryError: there is too little memory even for one picture per batch.
    """
    results: list[Result] = []
    with ProgressReporter(f"{doing} {lab.generator.name}", len(items) * size, unit) as progress:
        for item in items:
            results.append(within_memory(lab, functools.partial(work, item, progress.advance)))
            progress.advance(len(results) * size - progress.done)
    return results


def provenance(lab: Lab, spec: AuditSpec, options: DataclassInstance) -> dict[str, Any]:
    """Describe how pictures and numbers were made: generator, seed, options, and the same identity as an audit's.

    Args:
        lab: lab with the models.
        spec: options of the models.
        options: options of the command; ``output`` is left out.
    """
    values = dataclasses.asdict(options)
    return {
        "generator": {"name": lab.generator.name, "digest": lab.generator.digest},
        "seed": lab.spec.seed,
        "cawa": __version__,
        "identity": identity_of(lab, spec, lab.class_ids).as_data(),
        "options": {name: value for name, value in values.items() if name != "output"},
    }


def as_json(description: dict[str, Any]) -> bytes:
    """Encode the file beside a sheet; values that are not finite become null."""
    return json.dumps(plain(description), indent=1, allow_nan=False).encode()


def mean_and_error(values: NDArray[np.float64]) -> dict[str, float]:
    """Return mean and standard error, for a JSON file."""
    return {"mean": float(values.mean()), "stderr": standard_error(values)}


def mean_in_words(values: NDArray[np.float64]) -> str:
    """Format mean and standard error, for a sheet."""
    error = f" ± {standard_error(values):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{error}"


def probability_in_words(after: float, before: float | None = None) -> str:
    """Format a probability for a caption, with its change from the one before in brackets."""
    return f"p = {after:.2f}" + ("" if before is None else f" ({change_in_words(after - before, 2)})")


def change_in_words(change: float, digits: int, stderr: float = float("nan")) -> str:
    """Format a signed change, with its standard error if that is known."""
    signed = f"{round(change, digits) + 0.0:+.{digits}f}".replace("-", "−")  # + 0.0: no minus before zero
    return signed + (f" ± {stderr:.{digits}f}" if np.isfinite(stderr) else "")
