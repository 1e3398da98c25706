"""Interface between an audit and the place where its folder is stored."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager

from cawa_core.errors import InputError
from cawa_core.storage.atomic import HashedWriter

PROBE = ".cawa-probe"
"""File that is written and removed to check that the folder is writable."""


class StorageError(Exception):
    """A store is full or has failed for too long; the message is one line about what happened.

    Files published before are intact. The caller adds what the user can do.
    """


class StorageRefusedError(StorageError):
    """A store refuses a request, and retrying cannot help: no such bucket, no permission."""


class UnusableFileError(StorageRefusedError, InputError):
    """There is something else where a file should be."""


class OutsideFolderError(UnusableFileError):
    """A link in the folder leads out of it; nothing there is opened, listed, written or removed."""


class FolderInUseError(InputError):
    """Another process has locked the folder."""


class WriteConflictError(Exception):
    """A conditional write failed because another process wrote first."""


@dataclasses.dataclass(frozen=True)
class Version:
    """Identity of one write of an object; stores compare one field or the other.

    Attributes:
        e_tag: entity tag, which S3 and Azure compare.
        version: generation, which Google Cloud Storage compares.
    """

    e_tag: str | None
    version: str | None

    def as_condition(self) -> dict[str, str]:
        """Return the fields that the store has, in the form that its client takes as a condition."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


class Storage(ABC):
    """An audit folder, wherever it is stored. Files are named relative to it, with ``/`` between folders.

    A file is complete or absent, whatever happens while it is written.

    Attributes:
        url: path or URL of the folder, as the user wrote it and as :func:`cawa_core.storage.open_storage` takes it.
    """

    url: str

    @property
    def everywhere(self) -> str:
        """A path or URL that is valid in other processes, too."""
        return self.url

    def path(self, name: str) -> str:
        """Return the full path or URL of a file, for messages."""
        return f"{self.url}/{name}" if name else self.url

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: the file does not exist.
            StorageError: the store fails.
        """

    def read_recorded(self, name: str, sha256: str) -> bytes:  # noqa: ARG002
        """Read a file with a known digest, possibly from a local copy; the caller must verify the digest."""
        return self.read(name)

    def bring_near(self, recorded: Iterable[tuple[str, str]]) -> None:  # noqa: B027
        """Prefetch files, given by name and digest, that are about to be read."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Return whether a file exists."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """List all files below a folder inside this one, in order, including leftovers of interrupted writes."""

    def is_empty(self) -> bool:
        """Return whether the folder holds no file except leftovers of interrupted writes."""
        return not self.names()

    def is_leftover(self, name: str) -> bool:  # noqa: ARG002
        """Return whether a file's name says that it is a leftover of an interrupted write."""
        return False

    def require_folder(self) -> None:  # noqa: B027
        """Check that the folder's path is free or a folder.

        Raises:
            InputError: the path is that of a file.
        """

    def require_contained(self, name: str) -> None:  # noqa: B027
        """Check that a subfolder, where it exists, is inside the folder.

        Raises:
            OutsideFolderError: it is, or is below, a link that leads outside.
        """

    def links_outside(self) -> list[str]:
        """List links to folders that are outside; nothing is listed or opened through them."""
        return []

    def probe(self) -> None:
        """Check that files can be written, and leave nothing behind.

        Raises:
            StorageError: see :meth:`write`.
        """
        self.write(PROBE, b"")
        self.remove(PROBE)

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing an existing one.

        Raises:
            StorageError: the store fails or is full; the old content is intact.
        """

    def replace(self, name: str, content: bytes) -> None:
        """Write a file only if, as far as the store can tell, it is unchanged since it was last read or written here.

        Raises:
            StorageError: see :meth:`write`; or another driver has written the file meanwhile.
        """
        self.write(name, content)

    @abstractmethod
    def new_file(self, folder: str) -> AbstractContextManager[HashedWriter]:
        """Open a file to write piece by piece; it gets the writer's ``name`` if the block ends without an error.

        Raises:
            StorageError: see :meth:`write`.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file if it exists."""

    def remove_all(self, names: Iterable[str]) -> None:
        """Remove files, as far as they exist."""
        for name in names:
            self.remove(name)

    @abstractmethod
    def append(self, name: str, line: bytes) -> None:
        """Append a line to a journal; it is on the disk or in the store when this returns.

        Raises:
            StorageError: see :meth:`write`; or another driver is writing the same journal.
        """

    @abstractmethod
    def lines(self, name: str) -> list[bytes]:
        """Read all complete lines of a journal; a partial last line, left by a crash, is ignored."""

    @abstractmethod
    def clear(self, name: str) -> None:
        """Remove all lines of a journal."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other drivers, creating it if new; the lock ends with the process at the latest.

        Raises:
            FolderInUseError: another driver holds the lock.
            InputError: the folder cannot be written.
            StorageError: the store fails.
        """
