"""An audit folder on a file system."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.storage.atomic import HashedWriter, atomic_file
from cawa_core.storage.base import Storage, StorageError, StorageRefusedError
from cawa_core.storage.names import require_inside

LOCK = ".lock"
PART = "part"
TEMPORARY = f".{PART}."
"""How the names of files begin that are not finished."""
FOREVER = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""What no waiting and no freeing of space mends."""


class LocalStorage(Storage):
    """Files under one folder, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, str(folder)
        self._whole: dict[str, int] = {}  # journal => bytes of its whole lines, once read

    @property
    def everywhere(self) -> str:
        """The absolute path."""
        return str(self.folder.absolute())

    def read(self, name: str) -> bytes:
        """Content of a file."""
        with self._failing(name, missing=True):
            return self._place(name).read_bytes()

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        with self._failing(name):
            return self._place(name).is_file()

    def names(self, folder: str = "") -> list[str]:
        """All files below a folder, the lock apart."""
        found = (path for path in self._place(folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found if path.name != LOCK)

    def is_empty(self) -> bool:
        """Whether nothing is there but a lock and what a first writing left that was cut short."""
        with self._failing(""):
            return not self.folder.exists() or all(_is_passing(path.name) for path in self.folder.iterdir())

    def leftovers(self) -> list[str]:
        """All temporary files."""
        return [name for name in self.names() if name.rpartition("/")[2].startswith(TEMPORARY)]

    def require_folder(self) -> None:
        """Check that the folder is none yet, or a folder."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"output must be a folder; {self.url} is a file, choose another --output")

    def probe(self) -> None:
        """Make sure that files can be written; a folder that was not there is not there afterwards."""
        with self._failing(""):
            new = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        super().probe()
        for folder in new:
            with suppress(OSError):  # it is no longer empty
                folder.rmdir()

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place by one rename."""
        folder, _, last = require_inside(name).rpartition("/")
        with self.new_file(folder) as sink:
            sink.name = last
            sink.write(content)

    @contextmanager
    def new_file(self, folder: str) -> Iterator[HashedWriter]:
        """A file to write piece by piece under a temporary name."""
        with self._failing(folder), atomic_file(self._place(f"{folder}/{PART}".lstrip("/")).parent, PART) as sink:
            yield sink

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self._failing(name):
            self._place(name).unlink(missing_ok=True)

    def append(self, name: str, line: bytes) -> None:
        """Add a line at the end of the file, over what a crash or a full disk left of the last one."""
        if name not in self._whole:
            self.lines(name)
        with self._failing(name):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._place(name).open("ab") as file:
                file.truncate(self._whole[name])
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._whole[name] += len(line) + 1

    def lines(self, name: str) -> list[bytes]:
        """All whole lines of the file."""
        try:
            *whole, _ = self.read(name).split(b"\n")
        except FileNotFoundError:
            whole = []
        self._whole[name] = sum(len(line) + 1 for line in whole)
        return whole

    def clear(self, name: str) -> None:
        """Remove the file."""
        self.remove(name)
        self._whole[name] = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder by a lock of the system's, which it releases however the process ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / LOCK).open("a")
        except OSError as error:
            raise InputError(
                f"output {self.url} cannot be written: {error.strerror}; choose another --output"
            ) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"another cawa is at work in {self.url}; wait for it, or choose another --output"
                ) from None
            yield

    def _place(self, name: str) -> Path:
        """Where a file or folder is.

        Raises:
            StorageRefusedError: outside of the audit folder, by its name or by a link on the way.
        """
        place = self.folder / (require_inside(name) if name else "")
        home = self.folder.resolve()
        if name and not (home / name).parent.resolve().is_relative_to(home):
            raise StorageRefusedError(f"{self.path(name)} is outside of the audit folder: a link leads there")
        return place

    @contextmanager
    def _failing(self, name: str, missing: bool = False) -> Iterator[None]:
        """What the system refuses, as one line."""
        try:
            yield
        except OSError as error:
            if missing and isinstance(error, FileNotFoundError):
                raise
            kind = StorageRefusedError if error.errno in FOREVER else StorageError
            raise kind(f"{self.path(name)}: {error.strerror or error}") from error


def _is_passing(name: str) -> bool:
    return name == LOCK or name.startswith(TEMPORARY)
