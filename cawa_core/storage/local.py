"""An audit folder on a file system.

A link inside the folder is followed only to places inside it. Through a link that leads outside, nothing is opened,
listed or written; removing or replacing a file of that name removes or replaces the link itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.storage.atomic import HashedWriter, atomic_file
from cawa_core.storage.base import (
    FolderInUseError,
    OutsideFolderError,
    Storage,
    StorageError,
    StorageRefusedError,
    UnusableFileError,
)
from cawa_core.storage.names import require_inside

LOCK = ".lock"
PART = "part"
TEMPORARY = f".{PART}."
"""Prefix of the names of unfinished files."""
APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT
"""Flags to open a file whose end is written to."""
LARGEST_FILE = 2**31
"""Bytes of the largest file that is read into memory; cawa writes smaller ones."""
PERMANENT_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""Errors that neither waiting nor freeing space can fix."""


class LocalStorage(Storage):
    """Files under one folder.

    Args:
        folder: path of the folder, which need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)
        self._journal_bytes: dict[str, int] = {}  # bytes of a journal's complete lines, once it has been read
        self._folders_inside: set[str] = set()  # folders from which files were read

    @property
    def everywhere(self) -> str:
        """Absolute path of the folder."""
        return str(self.folder.absolute())

    def read(self, name: str) -> bytes:
        """Read a file."""
        with self._storage_errors(name, allow_missing=True), os.fdopen(self._opened(name, os.O_RDONLY), "rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST_FILE:
                size = f"more than {LARGEST_FILE >> 30} GB"
                raise UnusableFileError(f"{self.path(name)} has {size}, so cawa did not write it; restore or remove it")
            return file.read()

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        with self._storage_errors(name):
            return self._followed(name).is_file()

    def names(self, folder: str = "") -> list[str]:
        """List all files below a folder, except the lock."""
        with self._storage_errors(folder):
            return sorted(
                name for name, is_link in _below(self._followed(folder), f"{folder}/" if folder else "") if not is_link
            )

    def is_empty(self) -> bool:
        """Return whether the folder holds nothing except a lock and leftovers of interrupted writes."""
        with self._storage_errors(""):
            names = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []
            return all(name == LOCK or name.startswith(TEMPORARY) for name in names)

    def is_leftover(self, name: str) -> bool:
        """Return whether a file has a temporary name."""
        return name.rpartition("/")[2].startswith(TEMPORARY)

    def links_outside(self) -> list[str]:
        """List links to folders that are outside."""
        links = sorted(name for name, is_link in _below(self.folder, "") if is_link)
        return [name for name in links if not self._is_inside(self.folder / name)]

    def require_contained(self, name: str) -> None:
        """Check that a subfolder, where it exists, is inside the folder."""
        self._require_inside_after_links(name, self.folder / require_inside(name))

    def require_folder(self) -> None:
        """Check that the folder's path is free or a folder."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.url} is a file, and must be a folder; give another path")

    def probe(self) -> None:
        """Check that files can be written; folders created for that are removed again."""
        with self._storage_errors(""):
            new_folders = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        super().probe()
        for folder in new_folders:
            with suppress(OSError):  # it is no longer empty
                folder.rmdir()

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name and rename it."""
        folder, _, filename = require_inside(name).rpartition("/")
        with self.new_file(folder) as writer:
            writer.name = filename
            writer.write(content)

    @contextmanager
    def new_file(self, folder: str) -> Iterator[HashedWriter]:
        """Open a file to write piece by piece under a temporary name."""
        with self._storage_errors(folder):
            parent = self._resolve(f"{folder}/{PART}".lstrip("/")).parent
            with atomic_file(parent, PART) as writer:
                yield writer

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        with self._storage_errors(name):
            self._resolve(name).unlink(missing_ok=True)

    def append(self, name: str, line: bytes) -> None:
        """Append a line to the file, overwriting a partial last line left by a crash or a full disk."""
        if name not in self._journal_bytes:
            self.lines(name)
        with self._storage_errors(name):
            self.folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(self._opened(name, APPENDING), "ab") as file:
                file.truncate(self._journal_bytes[name])
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._journal_bytes[name] += len(line) + 1

    def lines(self, name: str) -> list[bytes]:
        """Read all complete lines of the file."""
        try:
            *lines, _ = self.read(name).split(b"\n")
        except FileNotFoundError:
            lines = []
        self._journal_bytes[name] = sum(len(line) + 1 for line in lines)
        return lines

    def clear(self, name: str) -> None:
        """Remove the file."""
        self.remove(name)
        self._journal_bytes[name] = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder by a file lock, which the system releases however the process ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.fdopen(self._opened(LOCK, APPENDING), "ab")
        except IsADirectoryError:
            raise UnusableFileError(_must_be_a_file(self.path(LOCK))) from None
        except OSError as error:
            raise InputError(
                f"output {self.url} cannot be written: {error.strerror}; choose another --output"
            ) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FolderInUseError(
                    f"another cawa is at work in {self.url}; wait for it, or choose another --output"
                ) from None
            yield

    def _opened(self, name: str, flags: int) -> int:
        """Open a file, without waiting for the other end of a pipe, and return its descriptor.

        Raises:
            UnusableFileError: there is a pipe or a device in its place.
        """
        try:
            descriptor = os.open(self._followed(name), flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a pipe that nobody reads
                raise UnusableFileError(self._no_file(name)) from None
            raise
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise UnusableFileError(_must_be_a_file(self.path(name)) if stat.S_ISDIR(mode) else self._no_file(name))
        return descriptor

    def _no_file(self, name: str) -> str:
        return f"{self.path(name)} must be a file, and is a pipe or device; remove it"

    def _resolve(self, name: str) -> Path:
        """Return the path of a file or folder, which may itself be a link, but is inside the audit folder.

        Raises:
            OutsideFolderError: a folder on the way is a link that leads outside.
            ValueError: the name itself leads there.
        """
        path = self.folder / (require_inside(name) if name else "")
        self._require_inside_after_links(name, path.parent if name else path)
        return path

    def _followed(self, name: str) -> Path:
        """Return the path of a file or folder that is about to be opened or listed.

        Each folder is checked once, since it may hold thousands of files.

        Raises:
            OutsideFolderError: it is, or is below, a link that leads outside.
            ValueError: the name itself leads there.
        """
        if not name:
            return self._resolve(name)
        folder = name.rpartition("/")[0]
        if folder in self._folders_inside:
            path = self.folder / require_inside(name)
        else:
            path = self._resolve(name)
            self._folders_inside.add(folder)
        if path.is_symlink():
            self._require_inside_after_links(name, path)
        return path

    def _require_inside_after_links(self, name: str, path: Path) -> None:
        if not self._is_inside(path):
            raise OutsideFolderError(
                f"{self.path(name)} is outside of the audit folder: a link leads there; remove the link, or copy what "
                "it leads to in its place"
            )

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, RuntimeError):  # the links form a circle
            return False

    def _file_on_the_way(self, name: str) -> Path:
        """Return the part of a path that is a file and keeps anything from being below it."""
        path = self.folder / name
        return next((folder for folder in reversed((path, *path.parents)) if folder.is_file()), path)

    @contextmanager
    def _storage_errors(self, name: str, allow_missing: bool = False) -> Iterator[None]:
        """Turn ``OSError`` into a one-line :class:`StorageError`; ``allow_missing`` lets FileNotFoundError pass."""
        try:
            yield
        except IsADirectoryError as error:
            path = error.filename2 or error.filename or self.path(name)  # the folder itself, not the one it is in
            raise UnusableFileError(_must_be_a_file(path)) from None
        except (NotADirectoryError, FileExistsError):
            path = self._file_on_the_way(name)
            message = f"{path} is a file, and must be a folder; remove it, or give another path"
            raise UnusableFileError(message) from None
        except OSError as error:
            if allow_missing and isinstance(error, FileNotFoundError):
                raise
            kind = StorageRefusedError if error.errno in PERMANENT_ERRORS else StorageError
            raise kind(f"{self.path(name)}: {error.strerror or error}") from error


def _must_be_a_file(path: object) -> str:
    return f"{path} is a folder, and must be a file; remove that folder"


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield the files below a folder, except the lock, and the links to folders, which are not followed.

    Args:
        folder: folder to list; there are no files if it does not exist.
        prefix: text before the names.

    Yields:
        Name, and whether it is a link to a folder. Links to files count as files.

    Raises:
        OSError: a folder cannot be listed.
    """
    pending: list[tuple[str, str]] = [(str(folder), prefix)]
    while pending:
        path, prefix = pending.pop()
        try:
            entries = os.scandir(path)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_symlink() and _leads_to(entry, stat.S_ISDIR):
                    yield prefix + entry.name, True
                elif entry.name != LOCK and (entry.is_file(follow_symlinks=False) or _leads_to(entry, stat.S_ISREG)):
                    yield prefix + entry.name, False


def _leads_to(entry: os.DirEntry[str], is_kind: Callable[[int], bool]) -> bool:
    """Return whether an entry is of a kind, or a link to one; a link that leads back to itself counts as a file."""
    try:
        return is_kind(entry.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return is_kind is stat.S_ISREG
