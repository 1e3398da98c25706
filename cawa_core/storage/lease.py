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
from typing import TYPE_CHECKING, Any

from cawa_core.errors import InputError
from cawa_core.storage.base import StorageError, WriteConflictError

if TYPE_CHECKING:
    from cawa_core.storage.objects import ObjectStorage

LEASE = "lock.json"
BEAT_SECONDS = 5.0
"""How often a holder shows that it lives."""
DEAD_AFTER_SECONDS = 30.0
"""After so long without a sign a holder counts as dead, and its lease may be taken."""


class Lease:
    """One driver's hold on an audit folder.

    Attributes:
        lost: another driver has taken it, while this one showed no life.
    """

    def __init__(self, storage: ObjectStorage) -> None:
        self.storage, self.lost = storage, False
        self._holder = {"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex}
        self._beats, self._tag = 0, None  # type: tuple[int, str | None]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def take(self) -> None:
        """Take the lease, at once where nobody holds it or its holder died on this machine, else after a wait.

        Raises:
            InputError: its holder lives.
        """
        over: str | None = None
        while True:
            try:
                self._tag = self.storage.write_if(LEASE, self._content(), over)
                break
            except WriteConflictError:
                over = self._tag_of_dead_holder()
        self._thread.start()

    def release(self) -> None:
        """Give it up, so that the next driver need not wait."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self.lost:
            self.storage.remove(LEASE)

    def _content(self) -> bytes:
        return json.dumps({**self._holder, "beats": self._beats}).encode()

    def _tag_of_dead_holder(self) -> str | None:
        """The tag of a lease that nobody renews; none where it was given up meanwhile."""
        deadline, first = time.monotonic() + DEAD_AFTER_SECONDS, None
        while True:
            try:
                content, tag = self.storage.read_tagged(LEASE)
            except FileNotFoundError:
                return None
            holder = json.loads(content)
            if first is not None and tag != first:
                raise InputError(
                    f"another cawa is at work in {self.storage.url}, process {holder['process']} on {holder['host']}; "
                    "wait for it, or choose another --output"
                )
            if _died_here(holder) or time.monotonic() > deadline:
                return tag
            first = tag
            time.sleep(1.0)

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beats += 1
            try:
                self._tag = self.storage.write_if(LEASE, self._content(), self._tag)
            except WriteConflictError:
                self.lost = True
                return
            except StorageError:
                continue  # the driver's own writing will fail and say so


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
