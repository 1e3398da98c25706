"""The streams and arguments of a command, whatever the machine's locale and whoever reads the output."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from cawa_core.errors import InputError, first_line

EXIT_FAILED = 1
FAULTS_OF_THE_MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG),
)
"""Errors that no traceback explains better than their message."""


def escape_unencodable() -> None:
    """Let stdout and stderr show characters that the locale cannot encode as ``\\uXXXX``, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def require_text(arguments: Sequence[str]) -> None:
    """Check that arguments are text in the encoding of the machine.

    Raises:
        InputError: one has other bytes, as the name of a file on a foreign disk may.
    """
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(
                f"arguments must be text in {sys.getfilesystemencoding().upper()}; got {argument!a}: rename the file "
                "or folder, or link to it by another name"
            )


@contextmanager
def one_line_for_faults_of_the_machine() -> Iterator[None]:
    """End a command quietly if nobody reads its output any more, and in one line if the machine fails it.

    Raises:
        SystemExit: exit code 1.
    """
    try:
        yield
        _flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.errno not in FAULTS_OF_THE_MACHINE:
            raise
        _end(f"{error.filename or 'the output'}: {error.strerror}")
    except RuntimeError as error:
        if "torch" not in sys.modules:
            raise
        # only once PyTorch is imported, which takes seconds
        from cawa_core.numerics.device_errors import is_device_error

        if not is_device_error(error):
            raise
        _end(f"the device failed: {first_line(error)}; what is finished is kept; run the same command again")


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _end(message: str) -> NoReturn:
    print(f"cawa: {message}", file=sys.stderr)
    try:
        _flush()
    except OSError:
        _discard_output()
    sys.exit(EXIT_FAILED)


def _discard_output() -> None:
    """Send what is left in the buffer of stdout nowhere, so that the interpreter does not fail to write it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
