"""A lock in an object store: an object that its holder rewrites every few seconds.

Every writing of it is conditional on the one before, so that of two who reach for it one finds out. Clocks of two
machines are never compared: who waits watches whether the object changes.
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

from cawa_core.errors import InputError
from cawa_core.storage.base import StorageError, Version, WriteConflictError

if TYPE_CHECKING:
    from cawa_core.storage.objects import ObjectStorage

LEASE = "lock.json"
BEAT_SECONDS = 5.0
"""How often a holder shows that it lives."""
DEAD_AFTER_SECONDS = 30.0
"""After so long without a sign a holder counts as dead, and its lease may be taken."""
SIGN_PATIENCE = 5.0
"""Seconds that a sign of life is tried for: the next one is as good."""


class Lease:
    """One driver's hold on an audit folder.

    Args:
        storage: the folder.
        quick: the same, not asked for long: by it the holder shows that it lives, and gives up the lease.

    Attributes:
        lost: another driver has taken it, while this one showed no life.
    """

    def __init__(self, storage: ObjectStorage, quick: ObjectStorage) -> None:
        self.lost, self._storage, self._quick = False, storage, quick
        self._token = uuid.uuid4().hex
        self._beats, self._renewed = 0, _clock()
        self._version: Version | None = None
        self._renewing, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def take(self) -> None:
        """Take the lease, at once where nobody holds it or its holder died on this machine, else after a wait.

        Raises:
            InputError: its holder lives.
            StorageError: the store fails.
        """
        over: Version | None = None
        while self._version is None:
            self._renewed = _clock()
            try:
                self._version = self._storage.write_if(LEASE, self._content(), over)
            except WriteConflictError:
                over = self._version_of_dead_holder()
        self._thread.start()

    def check(self) -> None:
        """Make sure that it is held, by a new sign of life where the last one is old: this process may have slept.

        Raises:
            StorageError: another driver has taken it.
            TimeoutError: the store does not say.
        """
        if not self.lost and _clock() - self._renewed > DEAD_AFTER_SECONDS / 2:
            try:
                self._renew()
            except StorageError as error:
                raise TimeoutError(str(error).partition("; ")[0]) from None
        if self.lost:
            raise StorageError(f"{self._storage.url}: another cawa has taken this audit over; this one stops")

    def release(self) -> None:
        """Give it up, so that the next driver need not wait; where the store is away, it waits."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            if not self.lost and self._own_version() is not None:
                self._quick.remove(LEASE)
        except StorageError as error:
            warnings.warn(f"the next audit waits for the lease of this one, which stays: {error}", stacklevel=2)

    def _content(self) -> bytes:
        holder = {"host": socket.gethostname(), "process": os.getpid(), "token": self._token}
        return json.dumps({**holder, "beats": self._beats}).encode()

    def _own_version(self) -> Version | None:
        """The version of the lease where it is still this driver's."""
        try:
            content, version = self._quick.read_versioned(LEASE)
        except FileNotFoundError:
            return None
        return version if self._token.encode() in content else None

    def _version_of_dead_holder(self) -> Version | None:
        """The version of a lease that nobody renews; none where it was given up meanwhile."""
        deadline, first = time.monotonic() + DEAD_AFTER_SECONDS, None
        while True:
            try:
                content, version = self._storage.read_versioned(LEASE)
            except FileNotFoundError:
                return None
            holder = _holder_of(content)
            if first is not None and version != first:
                raise InputError(
                    f"another cawa is at work in {self._storage.url}, process {holder['process']} on "
                    f"{holder['host']}; wait for it, or choose another --output"
                )
            if _died_here(holder) or time.monotonic() > deadline:
                return version
            first = version
            time.sleep(1.0)

    def _renew(self) -> None:
        """Show that this driver lives, or find out that the lease is another's.

        Raises:
            StorageError: the store fails.
        """
        with self._renewing:
            for _ in range(2):
                began = _clock()
                self._beats += 1
                try:
                    self._version = self._quick.write_if(LEASE, self._content(), self._version)
                    self._renewed = began
                    return
                except WriteConflictError:
                    # An earlier sign may have been written although its answer was lost.
                    self._version = self._own_version()
                if self._version is None:
                    self.lost = True
                    return
            raise StorageError(f"{self._storage.url}: {LEASE} changes on its own")

    def _keep_beating(self) -> None:
        while not self.lost and not self._stop.wait(BEAT_SECONDS):
            with suppress(StorageError):  # the driver's own writing will fail and say so
                self._renew()


def _clock() -> float:
    """Seconds that pass while a machine sleeps, too, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _holder_of(content: bytes) -> dict[str, Any]:
    """Who holds a lease; of one that is damaged nobody knows, and it is watched as any other."""
    with suppress(ValueError):
        holder = json.loads(content)
        if isinstance(holder, dict) and isinstance(holder.get("host"), str) and isinstance(holder.get("process"), int):
            return holder
    return {"host": "a machine that its lease does not name", "process": 0}


def _died_here(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
