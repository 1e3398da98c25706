"""One-line endings for commands that save nothing until they finish."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from cawa_core.storage import StorageError

NOT_KEPT = "the sheet is written only at the end, so nothing was saved: run the same command again"


@contextmanager
def written_at_the_end() -> Iterator[None]:
    """Report in one line what stopped a command, and that it must start again.

    Raises:
        typer.Exit: exit code 1 after Ctrl-C, a storage error, or running out of device memory.
    """
    try:
        yield
    except KeyboardInterrupt:
        _end(f"interrupted; {NOT_KEPT}")
    except StorageError as error:
        _end(f"{error}; {NOT_KEPT}")
    except RuntimeError as error:
        from torch import OutOfMemoryError  # slow to import, for commands that only print their help

        if not isinstance(error, OutOfMemoryError):
            raise
        _end(
            "device: out of memory even with smaller batches than requested; lower --batch-size, "
            "the number of latents or classes, or choose another --device"
        )


def _end(message: str) -> NoReturn:
    print(f"cawa: {message}", file=sys.stderr)
    raise typer.Exit(1) from None
