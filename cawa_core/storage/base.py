"""What an audit asks of the place where its folder is."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager

from cawa_core.storage.atomic import HashedWriter

PROBE = ".cawa-probe"
"""File that is written and removed again, to see whether any can be."""


class StorageError(Exception):
    """A store is full, or failed for longer than one waits: one line, of what happened.

    What was published before is still there; whether that helps is for whoever asked to say.
    """


class StorageRefusedError(StorageError):
    """A store that will not do it, however often it is asked: no such bucket, no permission."""


class WriteConflictError(Exception):
    """A conditional writing met somebody else's."""


@dataclasses.dataclass(frozen=True)
class Version:
    """Which writing of an object it is. Stores go by one or by the other, so both are kept.

    Attributes:
        e_tag: what S3 and Azure compare.
        version: what Google Cloud Storage compares, its generation.
    """

    e_tag: str | None
    version: str | None

    def as_condition(self) -> dict[str, str]:
        """What a store is to compare, as its client takes it."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


class Storage(ABC):
    """An audit folder, wherever it is: files by their names inside it, ``/`` between folders.

    A file is there whole or not at all, whatever happens while it is written.

    Attributes:
        url: of the folder, as a user writes it and as :func:`cawa_core.storage.open_storage` takes it.
    """

    url: str

    @property
    def everywhere(self) -> str:
        """The URL for a process that works elsewhere."""
        return self.url

    def path(self, name: str) -> str:
        """Where a file is, for a message."""
        return f"{self.url}/{name}" if name else self.url

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the store fails.
        """

    def read_recorded(self, name: str, sha256: str) -> bytes:  # noqa: ARG002
        """Content of a file whose digest is known, so that a copy nearby may do; the caller compares the digest."""
        return self.read(name)

    def bring_near(self, recorded: Iterable[tuple[str, str]]) -> None:  # noqa: B027
        """Announce which files, by name and digest, are about to be read."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a file is there."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """All files below a folder inside this one, in order, left-overs of interrupted writes included."""

    def is_empty(self) -> bool:
        """Whether the folder holds no file, what interrupted writings left apart."""
        return not self.names()

    def leftovers(self) -> list[str]:
        """What interrupted writings left, anywhere in the folder, in order."""
        return []

    def require_folder(self) -> None:  # noqa: B027
        """Check that nothing but a folder is in the folder's place.

        Raises:
            InputError: something else is.
        """

    def probe(self) -> None:
        """Make sure that files can be written, and leave nothing behind.

        Raises:
            StorageError: as :meth:`write`.
        """
        self.write(PROBE, b"")
        self.remove(PROBE)

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, over the old one if there is one.

        Raises:
            StorageError: the store fails or is full; the old content is still there.
        """

    def replace(self, name: str, content: bytes) -> None:
        """Put a file in place, only over the content that was read or written here last, where a store can tell.

        Raises:
            StorageError: as :meth:`write`, or another driver has written the file meanwhile.
        """
        self.write(name, content)

    @abstractmethod
    def new_file(self, folder: str) -> AbstractContextManager[HashedWriter]:
        """A file to write piece by piece, put in place under the writer's ``name`` when the block ends well.

        Raises:
            StorageError: as :meth:`write`.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def append(self, name: str, line: bytes) -> None:
        """Add a line to a journal: on the disk or in the store when this returns.

        Raises:
            StorageError: as :meth:`write`, or another driver is writing the same journal.
        """

    @abstractmethod
    def lines(self, name: str) -> list[bytes]:
        """All whole lines of a journal; what a crash left of the last one is none."""

    @abstractmethod
    def clear(self, name: str) -> None:
        """Forget a journal."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder against other drivers, making it where it is new; released when the process ends or dies.

        Raises:
            InputError: another driver holds it, or it cannot be written.
            StorageError: the store fails.
        """
