"""An audit folder in an object store: S3, Google Cloud Storage, Azure.

A file is put by one request (or one multipart upload, completed by one), so that it is there whole or not at all.
Objects cannot grow: a journal is a folder of one object a line, each created only where there is none of its number,
so that of two drivers one finds out.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import from_url

from cawa_core.errors import InputError
from cawa_core.storage.atomic import HashedWriter
from cawa_core.storage.base import Storage, StorageError, StorageRefusedError, WriteConflictError
from cawa_core.storage.lease import LEASE, Lease

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

    Raises:
        InputError: no prefix, or a store that cannot be opened.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.url, self.patience = url.rstrip("/"), patience
        if not self.url.partition("://")[2].partition("/")[2]:
            raise InputError(f"an audit folder must have a bucket and a folder, as s3://bucket/folder; got {url}")
        self._store = _opened(self.url, patience)
        self._copies = tempfile.TemporaryDirectory(prefix="cawa-")
        self._next: dict[str, int] = {}  # journal => number of its next line
        self._lease: Lease | None = None

    def read(self, name: str) -> bytes:
        """Content of an object."""
        return self.read_tagged(name)[0]

    def read_tagged(self, name: str) -> tuple[bytes, str | None]:
        """Content of an object, and the tag that says which writing of it this is.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the store fails.
        """

        def get() -> tuple[bytes, str | None]:
            answer = obstore.get(self._store, name)
            return bytes(answer.bytes()), answer.meta["e_tag"]

        return self._patiently(f"reading {name}", get)

    def read_recorded(self, name: str, sha256: str) -> bytes:
        """Content of a file with a known digest, from this process's copy once it was read."""
        copy = Path(self._copies.name) / sha256
        if not copy.exists():
            content = self.read(name)
            part = copy.with_suffix(f".{random.randrange(2**32):08x}")
            part.write_bytes(content)
            part.replace(copy)
            return content
        return copy.read_bytes()

    def bring_near(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Copy files side by side: one after another, thousands of small ones take minutes."""
        missing = [(name, sha256) for name, sha256 in recorded if not (Path(self._copies.name) / sha256).exists()]
        if len(missing) > 1:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._copied, missing))

    def _copied(self, recorded: tuple[str, str]) -> None:
        with suppress(FileNotFoundError):  # said when it is read
            self.read_recorded(*recorded)

    def exists(self, name: str) -> bool:
        """Whether an object is there."""
        try:
            self._patiently(f"looking for {name}", lambda: obstore.head(self._store, name))
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str = "") -> list[str]:
        """All objects below a folder, the lease apart."""

        def listed() -> list[str]:
            pages = obstore.list(self._store, prefix=folder or None)
            return sorted(str(item["path"]) for page in pages for item in page if item["path"] != LEASE)

        return self._patiently(f"listing {folder or 'the folder'}", listed)

    def write(self, name: str, content: bytes) -> None:
        """Put an object by one request, over the old one if there is one."""
        self._put(name, content)

    def write_if(self, name: str, content: bytes, tag: str | None) -> str | None:
        """Put an object only where there is none, or only over the writing of it that has a tag; gives the new tag.

        Raises:
            WriteConflictError: somebody else was there first.
        """
        mode: Any = "create" if tag is None else {"e_tag": tag}
        try:
            put = self._patiently(f"writing {name}", lambda: obstore.put(self._store, name, content, mode=mode))
        except CONFLICTS:
            found, new_tag = self._found(name)
            if found != content:  # else an earlier request was done although its answer was lost
                raise WriteConflictError(name) from None
            return new_tag
        return put["e_tag"]

    def _found(self, name: str) -> tuple[bytes | None, str | None]:
        try:
            return self.read_tagged(name)
        except FileNotFoundError:
            return None, None

    @contextmanager
    def new_file(self, folder: str) -> Iterator[HashedWriter]:
        """A local file to write piece by piece, uploaded at the end."""
        with tempfile.TemporaryDirectory(prefix="cawa-") as here:
            path = Path(here) / "part"
            with path.open("wb") as file:
                sink = HashedWriter(file)
                yield sink
            self._put(f"{folder}/{sink.name}".lstrip("/"), path)

    def _put(self, name: str, content: bytes | Path) -> None:
        self._check_lease()
        try:
            self._patiently(f"writing {name}", lambda: obstore.put(self._store, name, content))
        except FileNotFoundError as error:
            raise StorageRefusedError(f"{self.url}: no such bucket ({_first_line(error)})") from None

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._check_lease()
        with suppress(FileNotFoundError):
            self._patiently(f"removing {name}", lambda: obstore.delete(self._store, name))

    def append(self, name: str, line: bytes) -> None:
        """Add an object of the next number."""
        self._check_lease()
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
        self._check_lease()
        parts = self.names(name)
        if parts:
            self._patiently(f"clearing {name}", lambda: obstore.delete(self._store, parts))
        self._next[name] = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder by a lease, renewed while this process lives."""
        lease = Lease(self)
        lease.take()
        self._lease = lease
        try:
            yield
        finally:
            self._lease = None
            lease.release()

    def _check_lease(self) -> None:
        if self._lease is not None and self._lease.lost:
            raise StorageError(f"{self.url}: another cawa has taken this audit over; this one stops")

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
                raise FileNotFoundError(_first_line(error)) from None
            except REFUSED as error:
                raise StorageRefusedError(f"{self.url}: {doing} is refused: {_first_line(error)}") from None
            except CONFLICTS:
                raise
            except (BaseError, OSError) as error:
                if time.monotonic() + pause > deadline:
                    raise StorageError(
                        f"{self.url}: {doing} has failed for {self.patience:.0f} s: {_first_line(error)}"
                    ) from None
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)


def _opened(url: str, patience: float) -> Any:  # noqa: ANN401
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=max(1.0, min(SLOWEST_REQUEST, patience / 4))),
            "connect_timeout": timedelta(seconds=5),
        },
        "retry_config": {"max_retries": 2},
    }
    if url.startswith("s3://"):
        options |= _s3_options(endpoint)
        options["client_options"]["allow_http"] = endpoint.startswith("http://")
    try:
        return from_url(url, **options)
    except (BaseError, UnknownConfigurationKeyError, ValueError) as error:
        raise InputError(f"audit folder {url} cannot be opened: {_first_line(error)}") from None


def _s3_options(endpoint: str) -> dict[str, Any]:
    """What the AWS command line would find: credentials of the environment, a profile, or the machine's role."""
    from boto3.session import Session
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = Session()
    options: dict[str, Any] = {"region": session.region_name or "us-east-1"}
    if endpoint:
        options |= {"endpoint": endpoint}
    found: dict[str, Any] = {"config": options}
    if session.get_credentials() is not None:
        found["credential_provider"] = Boto3CredentialProvider(session)
    return found


def _line_name(journal: str, number: int) -> str:
    return f"{journal}/{number:08d}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
