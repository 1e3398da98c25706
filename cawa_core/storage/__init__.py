"""Storage of audit folders on a file system or in an object store (``s3://``, ``gs://``, ``az://``)."""

from __future__ import annotations

from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.paths import user_path
from cawa_core.storage.atomic import HashedWriter, atomic_file, write_atomically
from cawa_core.storage.base import (
    FolderInUseError,
    OutsideFolderError,
    Storage,
    StorageError,
    StorageRefusedError,
    UnusableFileError,
)
from cawa_core.storage.local import LocalStorage

__all__ = [
    "Folder",
    "FolderInUseError",
    "HashedWriter",
    "LocalStorage",
    "OutsideFolderError",
    "Storage",
    "StorageError",
    "StorageRefusedError",
    "UnusableFileError",
    "atomic_file",
    "is_remote",
    "open_storage",
    "write_atomically",
]

Folder = Storage | Path | str
"""An audit folder: its open storage, its path or its URL."""

SCHEMES = ("s3", "gs", "az")
PATIENCE = 120.0
"""Seconds for which requests to a failing store are retried."""


def is_remote(folder: str) -> bool:
    """Return whether a folder is in an object store.

    Raises:
        InputError: ``folder`` is a URL of another scheme.
    """
    scheme, mark, _ = folder.partition("://")
    if mark and scheme not in SCHEMES:
        raise InputError(f"an audit folder must be a path, or a URL of {', '.join(SCHEMES)}; got {folder}")
    return bool(mark)


def open_storage(folder: Folder, patience: float = PATIENCE) -> Storage:
    """Open the storage of an audit folder; an open storage is returned unchanged.

    Args:
        folder: path, where ``~`` is the home folder, or URL ``s3://bucket/prefix``, ``gs://…``, ``az://…``.
        patience: seconds for which requests to a failing object store are retried.

    Raises:
        InputError: the URL has another scheme or no prefix, or no file can have such a path.
    """
    if isinstance(folder, Storage):
        return folder
    if not is_remote(str(folder)):
        return LocalStorage(user_path(folder))
    from cawa_core.storage.objects import ObjectStorage

    return ObjectStorage(str(folder), patience)
