"""Errors that a user can fix."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path

FEW_VALUES = 5
"""Number of values that a message lists."""
LONGEST_MESSAGE = 1200
"""Characters of a message about bad input."""
LONGEST_VALUE = 120
"""Characters of a value that a message shows."""


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
    return (error.strip().splitlines() or ["no reason given"])[-1][:300]


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the most similar allowed word, or an empty string."""
    nearest = difflib.get_close_matches(given[:LONGEST_VALUE], list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: ``1 class``, ``2 classes``."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def bounded(value: object, quoted: bool = True) -> str:
    """Return a value as a message shows it: one line of at most :data:`LONGEST_VALUE` characters.

    Args:
        value: any value.
        quoted: whether text is shown with quotation marks and escapes.
    """
    if isinstance(value, list | tuple) and len(value) > FEW_VALUES:
        words = f"[{listed(map(repr, value))}]"
    elif isinstance(value, str):
        text = value[: LONGEST_VALUE + 1]
        words = repr(text) if quoted else printable(text)
    else:
        words = repr(value)
    return words if len(words) <= LONGEST_VALUE else f"{words[: LONGEST_VALUE - 1]}…"


def printable(text: str) -> str:
    """Return text with escapes for what a terminal would act on or cannot show, such as line breaks and ESC."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def listed(values: Iterable[object], most: int = FEW_VALUES, separator: str = ", ") -> str:
    """Return the first values as text, and how many more there are: ``1, 2, 3 and 994 more``."""
    words = [str(value) for value in values]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return separator.join(words[:most]) + more


def shortened(message: str) -> str:
    """Return a message as one line; of a very long one, the beginning and the end, which says what to do."""
    line = printable(" ".join(message.split()))
    if len(line) <= LONGEST_MESSAGE:
        return line
    return f"{line[: LONGEST_MESSAGE * 3 // 4]} … {line[-LONGEST_MESSAGE // 4 :]}"
