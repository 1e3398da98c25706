"""Errors that a user can fix."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Bad input; the message is one line: which argument, what is allowed, what came, and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def in_one_line(error: BaseException) -> str:
    """Return the type and first line of an error, and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
    return f"{type(error).__name__}, {first_line(error)}{place}"


def last_line(error: str) -> str:
    """Return the last line of a traceback, which is the error itself."""
    return (error.strip().splitlines() or ["no reason given"])[-1]


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the most similar allowed word, or an empty string."""
    nearest = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: ``1 class``, ``2 classes``."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"
