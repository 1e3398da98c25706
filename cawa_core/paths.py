"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from cawa_core.errors import InputError

LONGEST_NAME = 255
"""Bytes of the longest file name that common file systems allow."""
SHOWN = 40
"""Characters of a name that is too long which a message shows."""


def user_path(given: str | Path) -> Path:
    """Return a path that a user gave, with ``~`` and ``~user`` expanded to home folders.

    Relative paths stay relative to the current folder, also those in a spec file.

    Raises:
        InputError: there is no such user, or no file can have such a path.
    """
    text = str(given)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"a path must be text without NUL; got {text!a}")
    for name in Path(text).parts:
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise InputError(f"names in a path must have at most {LONGEST_NAME} bytes; got {name[:SHOWN]}…")
    expanded = os.path.expanduser(text)  # noqa: PTH111  # Path would also expand ./~
    if text.startswith("~") and expanded == text:
        raise InputError(
            f"path {text} begins with the home folder of a user who is not known here; for a file whose name begins "
            "with ~, write ./~"
        )
    return Path(expanded)
