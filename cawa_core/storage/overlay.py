"""A folder that is read through, and whose changes go to another place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from cawa_core.storage.atomic import HashedWriter
from cawa_core.storage.base import Storage
from cawa_core.storage.local import LocalStorage


class Overlay(Storage):
    """Files of a folder that another process may be writing, and changes that are kept apart from it.

    Args:
        base: the folder, which is only read.
        changes: takes what is written; its files hide those of the folder. Removing a file of the folder does nothing.
    """

    def __init__(self, base: Storage, changes: LocalStorage) -> None:
        self.base = base
        self.changes = changes
        self.url = base.url

    def _storage_of(self, name: str) -> Storage:
        return self.changes if self.changes.exists(name) else self.base

    def read(self, name: str) -> bytes:
        """Read a changed file, else that of the folder."""
        return self._storage_of(name).read(name)

    def read_recorded(self, name: str, sha256: str) -> bytes:
        """Read a file with a known digest."""
        return self._storage_of(name).read_recorded(name, sha256)

    def bring_near(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Prefetch files of the folder."""
        self.base.bring_near((name, sha256) for name, sha256 in recorded if not self.changes.exists(name))

    def exists(self, name: str) -> bool:
        """Return whether a file exists in either place."""
        return self._storage_of(name).exists(name)

    def names(self, folder: str = "") -> list[str]:
        """List the files of both places."""
        return sorted({*self.base.names(folder), *self.changes.names(folder)})

    def write(self, name: str, content: bytes) -> None:
        """Write a changed file."""
        self.changes.write(name, content)

    def new_file(self, folder: str) -> AbstractContextManager[HashedWriter]:
        """Open a changed file to write piece by piece."""
        return self.changes.new_file(folder)

    def remove(self, name: str) -> None:
        """Remove a changed file if it exists."""
        self.changes.remove(name)

    def append(self, name: str, line: bytes) -> None:
        """Append a line to a journal of changes."""
        self.changes.append(name, line)

    def lines(self, name: str) -> list[bytes]:
        """Read the lines of both places, those of the folder first."""
        return [*self.base.lines(name), *self.changes.lines(name)]

    def clear(self, name: str) -> None:
        """Remove all lines of a journal of changes."""
        self.changes.clear(name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock nothing, because nobody else writes the changes."""
        yield
