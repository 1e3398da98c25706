"""Local files that are whole or not there."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class HashedWriter(io.RawIOBase):
    """Passes on what is written and keeps its SHA-256.

    Attributes:
        name: of the finished file; it may be chosen when all is written.
    """

    def __init__(self, file: BinaryIO, name: str = "") -> None:
        self.file, self.name, self._digest = file, name, hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of everything written so far."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Yes, and nothing else."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Write bytes, or whatever holds them."""
        self._digest.update(content)
        return self.file.write(content)


@contextmanager
def atomic_file(folder: Path, name: str = "") -> Iterator[HashedWriter]:
    """A file to write, put in its place at the end: readers see the old content or the new, never a part.

    Args:
        folder: where; made where it is not there.
        name: of the file; the writer's ``name`` counts when all is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            writer = HashedWriter(file, name)
            yield writer
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(folder / writer.name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file so that readers see the old content or the new, never a part."""
    with atomic_file(path.parent, path.name) as file:
        file.write(content)
