"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from cawa_core.errors import InputError

LONGEST_NAME, LONGEST_PATH = 255, 3500
"""Bytes of the longest file name that common file systems allow, and of a path, with room for the files below it."""
SHOWN = 40
"""Characters of a path that is too long which a message shows."""


def user_path(given: str | Path) -> Path:
    """Return a path that a user gave, with ``~`` and ``~user`` expanded to home folders.

    Relative paths stay relative to the current folder, also those in a spec file.

    Raises:
        InputError: there is no such user, or no file can have such a path.
    """
    text = str(given)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"a path must be text without NUL; got {text!a}")
    names = Path(text).parts
    if len(os.fsencode(text)) > LONGEST_PATH or any(len(os.fsencode(name)) > LONGEST_NAME for name in names):
        raise InputError(
            f"a path must have at most {LONGEST_PATH} bytes, and {LONGEST_NAME} in each name; got {text[:SHOWN]}…"
        )
    expanded = os.path.expanduser(text)  # noqa: PTH111  # Path would also expand ./~
    if text.startswith("~") and expanded == text:
        raise InputError(
            f"path {text} begins with the home folder of a user who is not known here; for a file whose name begins "
            "with ~, write ./~"
        )
    return Path(expanded)
