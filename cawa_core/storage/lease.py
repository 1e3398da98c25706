"""A lock in an object store: an object that its holder rewrites every few seconds.

Every write is conditional on the previous one, so if two processes try to take the lease, one of them fails. Clocks
of different machines are never compared: a waiting process watches whether the object changes.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cawa_core.storage.base import FolderInUseError, StorageError, Version, WriteConflictError

if TYPE_CHECKING:
    from cawa_core.storage.objects import ObjectStorage

LEASE = "lock.json"
BEAT_SECONDS = 5.0
"""Time between two renewals by the holder."""
DEAD_AFTER_SECONDS = 30.0
"""Time without a renewal after which the holder counts as dead and its lease may be taken."""
SIGN_PATIENCE = 5.0
"""Seconds for which a renewal is retried; after that, the next renewal replaces it."""


class Lease:
    """A driver's lock on an audit folder.

    Args:
        storage: storage of the folder.
        quick: storage of the same folder with a short patience, used to renew and to release the lease.

    Attributes:
        lost: whether another driver has taken the lease because this one failed to renew it.
    """

    def __init__(self, storage: ObjectStorage, quick: ObjectStorage) -> None:
        self.lost = False
        self._storage = storage
        self._quick = quick
        self._token = uuid.uuid4().hex
        self._beats = 0
        self._renewal_time = _clock()
        self._version: Version | None = None
        self._renewal_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_regularly, daemon=True)

    def take(self) -> None:
        """Take the lease, immediately if it is free or its holder died on this machine, else after a wait.

        Raises:
            InputError: the holder is alive.
            StorageError: the store fails.
        """
        dead_version: Version | None = None
        while self._version is None:
            self._renewal_time = _clock()
            try:
                self._version = self._storage.write_if(LEASE, self._content(), dead_version)
            except WriteConflictError:
                dead_version = self._version_of_dead_holder()
        self._thread.start()

    def check(self) -> None:
        """Check that this driver holds the lease; renew it first if that is overdue, as after the machine slept.

        Raises:
            StorageError: another driver has taken it.
            TimeoutError: the store does not answer.
        """
        if not self.lost and _clock() - self._renewal_time > DEAD_AFTER_SECONDS / 2:
            try:
                self._renew()
            except StorageError as error:
                raise TimeoutError(str(error).partition("; ")[0]) from None
        if self.lost:
            raise StorageError(f"{self._storage.url}: another cawa has taken this audit over; this one stops")

    def release(self) -> None:
        """Release the lease, so that the next driver need not wait; if the store fails, only warn."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            if not self.lost and self._current_version() is not None:
                self._quick.remove(LEASE)
        except StorageError as error:
            warnings.warn(f"the next audit waits for the lease of this one, which stays: {error}", stacklevel=2)

    def _content(self) -> bytes:
        holder = {"host": socket.gethostname(), "process": os.getpid(), "token": self._token}
        return json.dumps({**holder, "beats": self._beats}).encode()

    def _current_version(self) -> Version | None:
        """Return the version of the lease if this driver still holds it, else None."""
        try:
            content, version = self._quick.read_versioned(LEASE)
        except FileNotFoundError:
            return None
        return version if self._token.encode() in content else None

    def _version_of_dead_holder(self) -> Version | None:
        """Wait until the lease has not been renewed for long enough; return its version, or None if it was released."""
        deadline = time.monotonic() + DEAD_AFTER_SECONDS
        first = None
        while True:
            try:
                content, version = self._storage.read_versioned(LEASE)
            except FileNotFoundError:
                return None
            holder = _parse_holder(content)
            if first is not None and version != first:
                raise FolderInUseError(
                    f"another cawa is at work in {self._storage.url}, process {holder['process']} on "
                    f"{holder['host']}; wait for it, or choose another --output"
                )
            if _died_here(holder) or time.monotonic() > deadline:
                return version
            first = version
            time.sleep(1.0)

    def _renew(self) -> None:
        """Renew the lease, or set ``lost`` if another driver has taken it.

        Raises:
            StorageError: the store fails.
        """
        with self._renewal_lock:
            for _ in range(2):
                start = _clock()
                self._beats += 1
                try:
                    self._version = self._quick.write_if(LEASE, self._content(), self._version)
                    self._renewal_time = start
                    return
                except WriteConflictError:
                    # An earlier renewal may have been written although its response was lost.
                    self._version = self._current_version()
                if self._version is None:
                    self.lost = True
                    return
            raise StorageError(f"{self._storage.url}: {LEASE} changes on its own")

    def _renew_regularly(self) -> None:
        while not self.lost and not self._stop.wait(BEAT_SECONDS):
            with suppress(StorageError):  # the driver's next write will fail and report the reason
                self._renew()


def _clock() -> float:
    """Return a time in seconds that also advances while the machine sleeps, if the system provides one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _parse_holder(content: bytes) -> dict[str, Any]:
    """Return the holder of a lease; a damaged lease gets a placeholder that never counts as dead on this machine."""
    with suppress(ValueError):
        holder = json.loads(content)
        if isinstance(holder, dict) and isinstance(holder.get("host"), str) and isinstance(holder.get("process"), int):
            return holder
    return {"host": "a machine that its lease does not name", "process": 0}


def _died_here(holder: dict[str, Any]) -> bool:
    """Return whether the holder was a process on this machine and no longer runs."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
