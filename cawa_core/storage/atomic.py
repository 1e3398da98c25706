"""Atomic writes of local files: a file is complete or absent."""

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
    """Writes to a file and computes the SHA-256 of its content.

    Attributes:
        file: binary file to write to.
        name: name of the finished file; it may be set after everything is written.
    """

    def __init__(self, file: BinaryIO, name: str = "") -> None:
        self.file = file
        self.name = name
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """SHA-256 of everything written so far."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Return True; the stream is write-only."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Write bytes or any bytes-like object."""
        self._digest.update(content)
        return self.file.write(content)


@contextmanager
def atomic_file(folder: Path, name: str = "") -> Iterator[HashedWriter]:
    """Open a file that is moved into place at the end, so that readers see the old or the new content, never a part.

    Args:
        folder: folder of the file; created if it does not exist.
        name: name of the file; the writer's ``name`` at the end of the block takes precedence.
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
    """Write a file so that readers see the old or the new content, never a part."""
    with atomic_file(path.parent, path.name) as file:
        file.write(content)
