"""Check of file names, so that no document can make cawa touch files outside an audit folder."""

from __future__ import annotations

from pathlib import PurePosixPath


def require_inside(name: str, below: str = "") -> str:
    """Check that a file's name stays inside the folder, and return it.

    Args:
        name: name relative to the audit folder, with ``/`` between folders.
        below: folder that the file must be in; the audit folder itself if empty.

    Raises:
        ValueError: the name is empty, absolute, not normalised (``..``, ``.``, ``//``), has a character that no store
            accepts (backslash, control character), or is not below the folder.
    """
    path = PurePosixPath(name)
    is_plain = name.isprintable() and "\\" not in name and str(path) == name
    if not is_plain or path.is_absolute() or not path.name or ".." in path.parts:
        raise ValueError(f"{name!r} is not a plain path inside the folder")
    if below and PurePosixPath(below) not in path.parents:
        raise ValueError(f"{name!r} is not below {below}/")
    return name
