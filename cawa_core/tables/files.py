"""Files that are whole or not there."""

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
    """Passes on what is written and keeps its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self._digest = file, hashlib.sha256()

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
def atomic_file(path: Path) -> Iterator[HashedWriter]:
    """A file to write, put in its place at the end: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield HashedWriter(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file so that readers see the old content or the new, never a part."""
    with atomic_file(path) as file:
        file.write(content)
