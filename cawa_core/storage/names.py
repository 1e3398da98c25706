"""Names of files inside an audit folder: whatever a document says, nothing outside the folder is touched."""

from __future__ import annotations

from pathlib import PurePosixPath


def require_inside(name: str, below: str = "") -> str:
    """Check that a file's name stays inside the folder, and return it.

    Args:
        name: relative to the audit folder, ``/`` between folders.
        below: a folder that the file must be in; the audit folder itself when left out.

    Raises:
        ValueError: the name is empty, absolute, not normalised (``..``, ``.``, ``//``), has a character that no store
            takes (backslash, control character), or is not below the folder.
    """
    path = PurePosixPath(name)
    is_plain = name.isprintable() and "\\" not in name and str(path) == name
    if not is_plain or path.is_absolute() or not path.name or ".." in path.parts:
        raise ValueError(f"{name!r} is not a plain path inside the folder")
    if below and PurePosixPath(below) not in path.parents:
        raise ValueError(f"{name!r} is not below {below}/")
    return name
