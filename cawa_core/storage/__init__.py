"""Where an audit folder is: on a file system, or in an object store (``s3://``, ``gs://``, ``az://``)."""

from __future__ import annotations

from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.storage.atomic import HashedWriter, atomic_file, write_atomically
from cawa_core.storage.base import Storage, StorageError, StorageRefusedError
from cawa_core.storage.local import LocalStorage

__all__ = [
    "Folder",
    "HashedWriter",
    "LocalStorage",
    "Storage",
    "StorageError",
    "StorageRefusedError",
    "atomic_file",
    "is_remote",
    "open_storage",
    "write_atomically",
]

Folder = Storage | Path | str
"""An audit folder: opened, or where it is."""

SCHEMES = ("s3", "gs", "az")
PATIENCE = 120.0
"""Seconds that a failing store is asked again before one gives up."""


def is_remote(folder: str) -> bool:
    """Whether a folder is in an object store.

    Raises:
        InputError: a URL of another kind.
    """
    scheme, mark, _ = folder.partition("://")
    if mark and scheme not in SCHEMES:
        raise InputError(f"an audit folder must be a path, or a URL of {', '.join(SCHEMES)}; got {folder}")
    return bool(mark)


def open_storage(folder: Folder, patience: float = PATIENCE) -> Storage:
    """The storage of an audit folder; one that is open already is given back.

    Args:
        folder: path, or URL ``s3://bucket/prefix``, ``gs://…``, ``az://…``.
        patience: seconds that a failing object store is asked again.

    Raises:
        InputError: a URL of another kind, or one without a prefix.
    """
    if isinstance(folder, Storage):
        return folder
    if not is_remote(str(folder)):
        return LocalStorage(Path(folder))
    from cawa_core.storage.objects import ObjectStorage

    return ObjectStorage(str(folder), patience)
