"""Check of file names, so that no document can make cawa touch files outside an audit folder."""

from __future__ import annotations

UNPLAIN_PARTS = frozenset(("", ".", ".."))
"""Parts of a path that are no name of a file or folder; an empty one is at either end or between two slashes."""


def require_inside(name: str, below: str = "") -> str:
    """Check that a file's name stays inside the folder, and return it.

    Args:
        name: name relative to the audit folder, with ``/`` between folders.
        below: folder that the file must be in; the audit folder itself if empty.

    Raises:
        ValueError: the name is empty, absolute, not normalised (``..``, ``.``, ``//``), has a character that no store
            accepts (backslash, control character), or is not below the folder.
    """
    if not name.isprintable() or "\\" in name or not UNPLAIN_PARTS.isdisjoint(name.split("/")):
        raise ValueError(f"{name!r} is not a plain path inside the folder")
    if below and not name.startswith(f"{below}/"):
        raise ValueError(f"{name!r} is not below {below}/")
    return name


def is_plain(name: str) -> bool:
    """Return whether a name stays inside the folder and has only characters that every store accepts."""
    try:
        require_inside(name)
    except ValueError:
        return False
    return True
