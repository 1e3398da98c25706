"""How commands end that keep nothing before their end: in one line, whatever stops them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from cawa_core.storage import StorageError

NOT_KEPT = "a sheet is written when all of it is computed and nothing is kept before: run the same command again"


@contextmanager
def written_at_the_end() -> Iterator[None]:
    """Say in one line what stopped a command, and that it has to begin again.

    Raises:
        typer.Exit: with exit code 1, for Ctrl-C, a store that fails and a device without memory left.
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
            "device has no memory left, even for smaller batches than it was asked for; lower --batch-size, the number "
            "of latents or of classes, or choose another --device"
        )


def _end(message: str) -> NoReturn:
    print(f"cawa: {message}", file=sys.stderr)
    raise typer.Exit(1) from None
