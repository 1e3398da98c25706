"""An audit folder in an object store: S3, Google Cloud Storage, Azure.

A file is put by one request (or one multipart upload, completed by one), so that it is there whole or not at all.
Objects cannot grow: a journal is a folder of one object a line, each created only where there is none of its number,
so that of two drivers one finds out.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from cawa_core.errors import InputError, first_line
from cawa_core.storage.atomic import HashedWriter
from cawa_core.storage.base import Storage, StorageError, StorageRefusedError, Version, WriteConflictError
from cawa_core.storage.lease import LEASE, SIGN_PATIENCE, Lease
from cawa_core.storage.names import require_inside
from cawa_core.storage.stores import opened_store

Given = TypeVar("Given")

AT_ONCE = 16
"""Requests side by side where many small files are asked for."""
SLOWEST_REQUEST = 30.0
"""Seconds until a request without an answer counts as failed."""
LONGEST_PAUSE = 10.0
REFUSED = (PermissionDeniedError, UnauthenticatedError, InvalidPathError, NotSupportedError)
CONFLICTS = (AlreadyExistsError, PreconditionError)


class ObjectStorage(Storage):
    """Objects under one prefix.

    Args:
        url: ``s3://bucket/prefix`` and kin; endpoint, region and credentials come from the environment, as the
            store's own tools read them.
        patience: seconds that a request that fails is repeated, ever more slowly.
        timeout: seconds until a request without an answer counts as failed; of the patience, if left out.

    Raises:
        InputError: no prefix, or a store that cannot be opened.
    """

    def __init__(self, url: str, patience: float, timeout: float | None = None) -> None:
        self.url, self.patience = url.rstrip("/"), patience
        if not self.url.partition("://")[2].partition("/")[2]:
            raise InputError(f"an audit folder must have a bucket and a folder, as s3://bucket/folder; got {url}")
        self._store = opened_store(self.url, timeout or max(1.0, min(SLOWEST_REQUEST, patience / 4)))
        self._next: dict[str, int] = {}  # journal => number of its next line
        self._seen: dict[str, Version | None] = {}  # file => its version when it was read or replaced last
        self._lease: Lease | None = None

    def read(self, name: str) -> bytes:
        """Content of an object."""
        try:
            content, self._seen[name] = self.read_versioned(name)
        except FileNotFoundError:
            self._seen[name] = None
            raise
        return content

    def read_versioned(self, name: str) -> tuple[bytes, Version]:
        """Content of an object, and which writing of it this is.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the store fails.
        """

        def get() -> tuple[bytes, Version]:
            answer = obstore.get(self._store, require_inside(name))
            return bytes(answer.bytes()), Version(answer.meta["e_tag"], answer.meta["version"])

        return self._patiently(f"reading {name}", get)

    @cached_property
    def _copies(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="cawa-")

    def _copy(self, sha256: str) -> Path:
        return Path(self._copies.name) / sha256

    def read_recorded(self, name: str, sha256: str) -> bytes:
        """Content of a file with a known digest, from this process's copy once it was read; without room, no copy."""
        with suppress(OSError):
            return self._copy(sha256).read_bytes()
        content, _ = self.read_versioned(name)
        with suppress(OSError):
            self._keep(self._copy(sha256), content)
        return content

    @staticmethod
    def _keep(copy: Path, content: bytes) -> None:
        part = copy.with_suffix(f".{random.randrange(2**32):08x}")
        try:
            part.write_bytes(content)
            part.replace(copy)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def bring_near(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Copy files side by side: one after another, thousands of small ones take minutes."""
        try:
            missing = [(name, sha256) for name, sha256 in recorded if not self._copy(sha256).exists()]
        except OSError:
            return  # nowhere to copy to
        if len(missing) > 1:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._copied, missing))

    def _copied(self, recorded: tuple[str, str]) -> None:
        with suppress(FileNotFoundError):  # said when it is read
            self.read_recorded(*recorded)

    def exists(self, name: str) -> bool:
        """Whether an object is there."""
        try:
            self._patiently(f"looking for {name}", lambda: obstore.head(self._store, require_inside(name)))
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str = "") -> list[str]:
        """All objects below a folder, the lease apart."""

        with self._bucket():
            return self._patiently(f"listing {folder or 'the folder'}", lambda: self._listed(folder))

    def _listed(self, folder: str) -> list[str]:
        pages = obstore.list(self._store, prefix=require_inside(folder) if folder else None)
        try:
            return sorted(str(item["path"]) for page in pages for item in page if item["path"] != LEASE)
        except GenericError as error:
            if "404 Not Found" in first_line(error):  # of a listing the client has no exception for it
                raise FileNotFoundError(first_line(error)) from None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Put an object by one request, over the old one if there is one."""
        self._put(name, content)

    def write_if(self, name: str, content: bytes, over: Version | None) -> Version:
        """Put an object only where there is none, or only over one writing of it; gives the new one.

        Raises:
            WriteConflictError: somebody else was there first.
        """
        mode: Any = "create" if over is None else over.as_condition()
        try:
            with self._bucket():
                put = self._change(
                    f"writing {name}", lambda: obstore.put(self._store, require_inside(name), content, mode=mode)
                )
        except CONFLICTS:
            found, version = self._found(name)
            if found != content or version is None:  # else an earlier request was done although its answer was lost
                raise WriteConflictError(name) from None
            return version
        return Version(put["e_tag"], put["version"])

    def replace(self, name: str, content: bytes) -> None:
        """Put an object, only over the writing of it that was read or written here last."""
        if name not in self._seen:
            self._seen[name] = self._found(name)[1]
        try:
            self._seen[name] = self.write_if(name, content, self._seen[name])
        except WriteConflictError:
            raise StorageError(f"{self.url}: another cawa has written {name}; run the same command to go on") from None

    def _found(self, name: str) -> tuple[bytes | None, Version | None]:
        try:
            return self.read_versioned(name)
        except FileNotFoundError:
            return None, None

    @contextmanager
    def new_file(self, folder: str) -> Iterator[HashedWriter]:
        """A local file to write piece by piece, uploaded at the end."""
        try:
            with tempfile.TemporaryDirectory(prefix="cawa-") as here:
                path = Path(here) / "part"
                with path.open("wb") as file:
                    sink = HashedWriter(file)
                    yield sink
                self._put(f"{folder}/{sink.name}".lstrip("/"), path)
        except OSError as error:
            raise StorageError(
                f"{self.path(folder)}: its next file cannot be made on this machine: {error.strerror or error}; make "
                "room or set TMPDIR to another folder"
            ) from error

    def _put(self, name: str, content: bytes | Path) -> None:
        with self._bucket():
            self._change(f"writing {name}", lambda: obstore.put(self._store, require_inside(name), content))

    @contextmanager
    def _bucket(self) -> Iterator[None]:
        """Nothing found where nothing need be there: there is no bucket."""
        try:
            yield
        except FileNotFoundError as error:
            raise StorageRefusedError(f"{self.url}: no such bucket ({first_line(error)})") from None

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError):
            self._change(f"removing {name}", lambda: obstore.delete(self._store, require_inside(name)))

    def append(self, name: str, line: bytes) -> None:
        """Add an object of the next number."""
        if name not in self._next:
            self.lines(name)
        try:
            self.write_if(_line_name(name, self._next[name]), line, None)
        except WriteConflictError:
            raise StorageError(f"{self.url}: another cawa is writing {name}; let one of them finish") from None
        self._next[name] += 1

    def lines(self, name: str) -> list[bytes]:
        """The objects in the order of their numbers."""
        parts = self.names(name)
        self._next[name] = 1 + max((int(part.rpartition("/")[2]) for part in parts), default=-1)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(self._found, parts))
        return [content for content, _ in found if content is not None]

    def clear(self, name: str) -> None:
        """Remove the objects."""

        def clear() -> None:
            while parts := self._listed(name):
                with suppress(NotFoundError, FileNotFoundError):  # an earlier request whose answer was lost took some
                    obstore.delete(self._store, parts)
                    return

        self._change(f"clearing {name}", clear)
        self._next[name] = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder by a lease, renewed while this process lives."""
        lease = Lease(self, ObjectStorage(self.url, min(self.patience, SIGN_PATIENCE), SIGN_PATIENCE))
        try:
            lease.take()
        except StorageRefusedError as error:
            raise InputError(f"output cannot be written: {error}; choose another --output") from None
        self._lease = lease
        try:
            yield
        finally:
            self._lease = None
            lease.release()

    def _change(self, doing: str, request: Callable[[], Given]) -> Given:
        """As :meth:`_patiently`, for what only the holder of the lease may do: it may be lost while one waits."""

        def checked() -> Given:
            if self._lease is not None:
                self._lease.check()
            return request()

        return self._patiently(doing, checked)

    def _patiently(self, doing: str, request: Callable[[], Given]) -> Given:
        """The answer to a request, repeated while the store fails.

        Raises:
            FileNotFoundError: there is no such object (or bucket).
            StorageError: refused, or failing for longer than the patience.
        """
        deadline, pause = time.monotonic() + self.patience, 0.1
        while True:
            try:
                return request()
            except (NotFoundError, FileNotFoundError) as error:
                raise FileNotFoundError(first_line(error)) from None
            except REFUSED as error:
                raise StorageRefusedError(f"{self.url}: {doing} is refused: {first_line(error)}") from None
            except CONFLICTS:
                raise
            except (BaseError, OSError) as error:
                if time.monotonic() + pause > deadline:
                    raise StorageError(
                        f"{self.url}: {doing} has failed for {self.patience:.0f} s: {first_line(error)}"
                    ) from None
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)


def _line_name(journal: str, number: int) -> str:
    return f"{journal}/{number:08d}"
