"""Errors that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: one line that says which argument, what is allowed, what came and what to do."""


def first_line(error: BaseException) -> str:
    """What an error says, without the details that follow on further lines; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def last_line(error: str) -> str:
    """What a traceback ends with: the error itself."""
    return (error.strip().splitlines() or ["no reason given"])[-1]


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest allowed word, or nothing."""
    nearest = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
