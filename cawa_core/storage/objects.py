"""An audit folder in an object store: S3, Google Cloud Storage, Azure.

A file is written by one request (or by a multipart upload that one request completes), so it is complete or absent.
Objects cannot grow, so a journal is a folder with one object per line. Each object is created only if its number is
free, so if two drivers write the same journal, one of them fails.
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
from cawa_core.storage.stores import open_store

Response = TypeVar("Response")

CONCURRENT_REQUESTS = 16
"""Concurrent requests when many small files are read or removed."""
SLOWEST_REQUEST = 30.0
"""Maximum seconds until a request without a response counts as failed."""
LONGEST_PAUSE = 10.0
"""Maximum seconds between two attempts."""
REFUSED = (PermissionDeniedError, UnauthenticatedError, InvalidPathError, NotSupportedError)
CONFLICTS = (AlreadyExistsError, PreconditionError)


class ObjectStorage(Storage):
    """Objects under one prefix.

    Args:
        url: ``s3://bucket/prefix`` or similar; endpoint, region and credentials come from the environment, as for the
            store's own tools.
        patience: seconds for which a failing request is retried, with growing pauses.
        timeout: seconds until a request without a response counts as failed; by default a part of the patience.

    Raises:
        InputError: the URL has no prefix, or the store cannot be opened.
    """

    def __init__(self, url: str, patience: float, timeout: float | None = None) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        if not self.url.partition("://")[2].partition("/")[2]:
            raise InputError(f"an audit folder must have a bucket and a folder, as s3://bucket/folder; got {url}")
        self._store = open_store(self.url, timeout or max(1.0, min(SLOWEST_REQUEST, patience / 4)))
        self._next_line: dict[str, int] = {}  # number of each journal's next line
        self._versions: dict[str, Version | None] = {}  # version of each file when it was last read or replaced
        self._lease: Lease | None = None

    def read(self, name: str) -> bytes:
        """Read an object."""
        try:
            content, self._versions[name] = self.read_versioned(name)
        except FileNotFoundError:
            self._versions[name] = None
            raise
        return content

    def read_versioned(self, name: str) -> tuple[bytes, Version]:
        """Read an object and its version.

        Raises:
            FileNotFoundError: the object does not exist.
            StorageError: the store fails.
        """

        def get() -> tuple[bytes, Version]:
            response = obstore.get(self._store, require_inside(name))
            return bytes(response.bytes()), Version(response.meta["e_tag"], response.meta["version"])

        return self._retry(f"reading {name}", get)

    @cached_property
    def _copies(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="cawa-")

    def _copy_path(self, sha256: str) -> Path:
        return Path(self._copies.name) / sha256

    def read_recorded(self, name: str, sha256: str) -> bytes:
        """Read a file with a known digest, from this process's local copy if there is one; else try to make one."""
        with suppress(OSError):
            return self._copy_path(sha256).read_bytes()
        content, _ = self.read_versioned(name)
        with suppress(OSError):
            self._save_copy(self._copy_path(sha256), content)
        return content

    @staticmethod
    def _save_copy(path: Path, content: bytes) -> None:
        """Write a local copy under a temporary name and rename it, as several threads may make the same copy."""
        part = path.with_suffix(f".{random.randrange(2**32):08x}")
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def bring_near(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Copy files concurrently; one after another, thousands of small files take minutes."""
        try:
            missing = [(name, sha256) for name, sha256 in recorded if not self._copy_path(sha256).exists()]
        except OSError:
            return  # there is nowhere to copy to
        if len(missing) > 1:
            with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
                list(pool.map(self._make_copy, missing))

    def _make_copy(self, recorded: tuple[str, str]) -> None:
        with suppress(FileNotFoundError):  # reported when the file is read
            self.read_recorded(*recorded)

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        try:
            self._retry(f"looking for {name}", lambda: obstore.head(self._store, require_inside(name)))
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str = "") -> list[str]:
        """List all objects below a folder, except the lease."""

        with self._missing_bucket_error():
            return self._retry(f"listing {folder or 'the folder'}", lambda: self._list(folder))

    def _list(self, folder: str) -> list[str]:
        pages = obstore.list(self._store, prefix=require_inside(folder) if folder else None)
        try:
            return sorted(str(item["path"]) for page in pages for item in page if item["path"] != LEASE)
        except GenericError as error:
            if "404 Not Found" in first_line(error):  # the client has no exception of its own for listings
                raise FileNotFoundError(first_line(error)) from None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write an object by one request, replacing an existing one."""
        self._put(name, content)

    def write_if(self, name: str, content: bytes, over: Version | None) -> Version:
        """Write an object only over the version ``over``, or only if it does not exist (None); return its new version.

        Raises:
            WriteConflictError: another process wrote first.
        """
        mode: Any = "create" if over is None else over.as_condition()
        try:
            with self._missing_bucket_error():
                response = self._change(
                    f"writing {name}", lambda: obstore.put(self._store, require_inside(name), content, mode=mode)
                )
        except CONFLICTS:
            current_content, version = self._read_if_present(name)
            # The same content means that an earlier request succeeded although its response was lost.
            if current_content != content or version is None:
                raise WriteConflictError(name) from None
            return version
        return Version(response["e_tag"], response["version"])

    def replace(self, name: str, content: bytes) -> None:
        """Write an object only over the version that was last read or written here."""
        if name not in self._versions:
            self._versions[name] = self._read_if_present(name)[1]
        try:
            self._versions[name] = self.write_if(name, content, self._versions[name])
        except WriteConflictError:
            raise StorageError(f"{self.url}: another cawa has written {name}; run the same command to resume") from None

    def _read_if_present(self, name: str) -> tuple[bytes | None, Version | None]:
        try:
            return self.read_versioned(name)
        except FileNotFoundError:
            return None, None

    @contextmanager
    def new_file(self, folder: str) -> Iterator[HashedWriter]:
        """Open a local file to write piece by piece; it is uploaded at the end."""
        try:
            with tempfile.TemporaryDirectory(prefix="cawa-") as temporary:
                path = Path(temporary) / "part"
                with path.open("wb") as file:
                    writer = HashedWriter(file)
                    yield writer
                self._put(f"{folder}/{writer.name}".lstrip("/"), path)
        except OSError as error:
            raise StorageError(
                f"{self.path(folder)}: its next file cannot be written on this machine: {error.strerror or error}; "
                "free space or set TMPDIR to another folder"
            ) from error

    def _put(self, name: str, content: bytes | Path) -> None:
        with self._missing_bucket_error():
            self._change(f"writing {name}", lambda: obstore.put(self._store, require_inside(name), content))

    @contextmanager
    def _missing_bucket_error(self) -> Iterator[None]:
        """Report a FileNotFoundError, from a request that needs no existing object, as a missing bucket."""
        try:
            yield
        except FileNotFoundError as error:
            raise StorageRefusedError(f"{self.url}: no such bucket ({first_line(error)})") from None

    def remove(self, name: str) -> None:
        """Remove an object if it exists."""
        with suppress(FileNotFoundError):
            self._change(f"removing {name}", lambda: obstore.delete(self._store, require_inside(name)))

    def remove_all(self, names: Iterable[str]) -> None:
        """Remove objects concurrently; one after another, thousands take minutes."""
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            list(pool.map(self.remove, names))

    def append(self, name: str, line: bytes) -> None:
        """Create the object with the next number."""
        if name not in self._next_line:
            self.lines(name)
        try:
            self.write_if(f"{name}/{self._next_line[name]:08d}", line, None)
        except WriteConflictError:
            raise StorageError(f"{self.url}: another cawa is writing {name}; let one of them finish") from None
        self._next_line[name] += 1

    def lines(self, name: str) -> list[bytes]:
        """Read the journal's objects in the order of their numbers."""
        parts = self.names(name)
        self._next_line[name] = 1 + max((int(part.rpartition("/")[2]) for part in parts), default=-1)
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            contents = [content for content, _ in pool.map(self._read_if_present, parts)]
        return [content for content in contents if content is not None]

    def clear(self, name: str) -> None:
        """Remove the journal's objects."""

        def clear() -> None:
            while parts := self._list(name):
                # Some may be gone already, through an earlier request whose response was lost.
                with suppress(NotFoundError, FileNotFoundError):
                    obstore.delete(self._store, parts)
                    return

        self._change(f"clearing {name}", clear)
        self._next_line[name] = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder by a lease, renewed while this process lives."""
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

    def _change(self, activity: str, request: Callable[[], Response]) -> Response:
        """Retry a request that only the lease's holder may make; every attempt checks the lease first."""

        def checked_request() -> Response:
            if self._lease is not None:
                self._lease.check()
            return request()

        return self._retry(activity, checked_request)

    def _retry(self, activity: str, request: Callable[[], Response]) -> Response:
        """Make a request, and retry it while the store fails.

        Raises:
            FileNotFoundError: the object (or bucket) does not exist.
            StorageError: the store refuses, or has failed for longer than the patience.
        """
        deadline = time.monotonic() + self.patience
        pause = 0.1
        while True:
            try:
                return request()
            except (NotFoundError, FileNotFoundError) as error:
                raise FileNotFoundError(first_line(error)) from None
            except REFUSED as error:
                raise StorageRefusedError(f"{self.url}: {activity} is refused: {first_line(error)}") from None
            except CONFLICTS:
                raise
            except (BaseError, OSError) as error:
                if time.monotonic() + pause > deadline:
                    raise StorageError(
                        f"{self.url}: {activity} has failed for {self.patience:.0f} s: {first_line(error)}"
                    ) from None
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)
