"""Run shards on a Ray cluster, or on the cores of this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Sequence

import ray

from cawa_core.errors import InputError
from cawa_core.storage import Storage
from workflows.executors.ray import head as ray_head
from workflows.executors.ray.dispatch import Dispatch
from workflows.executors.ray.head import RayHead
from workflows.options.run import RunOptions
from workflows.planning.shards import Shard
from workflows.running.execution import Outcome
from workflows.running.job import Job

CONNECT_SECONDS = 10.0
"""Timeout of the first connection to a cluster's address."""


class RayExecutor:
    """Executor whose driver owns the queue and feeds ``options.workers`` actors."""

    def __init__(self) -> None:
        self._connected = False
        self._head: RayHead | None = None

    def run(
        self, job: Job, options: RunOptions, storage: Storage, shards: Sequence[Shard]
    ) -> Generator[Outcome, None, None]:
        """Execute the shards on the cluster at ``RAY_ADDRESS``, else on this machine; stop the actors at the end."""
        self._connect()
        dispatch = Dispatch(job, options, storage, shards)
        dispatch.start_actors()
        return self._outcomes(dispatch)

    def close(self) -> None:
        """Leave the cluster, and wait until a Ray that was started on this machine has ended."""
        self._disconnect()
        if self._head is not None:
            self._head.wait()
            self._head = None

    def _outcomes(self, dispatch: Dispatch) -> Generator[Outcome, None, None]:
        try:
            yield from dispatch.outcomes()
        finally:
            self._disconnect()

    def _connect(self) -> None:
        if ray.is_initialized():  # by the caller, who keeps it
            return
        self._head = ray_head.take_ahead()
        if self._head is not None:
            ray.init(address=self._head.address(), **ray_head.QUIET)
        elif address := os.environ.get("RAY_ADDRESS"):
            _join(address)
        else:
            ray_head.start_ray()
        self._connected = True

    def _disconnect(self) -> None:
        if self._connected:
            ray.shutdown()
            self._connected = False
        if self._head is not None:
            self._head.stop()


def _join(address: str) -> None:
    """Connect to a running cluster.

    Raises:
        InputError: nothing answers at the address, or the cluster requires another token.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # Ray itself waits minutes for a machine that is not there
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(**ray_head.QUIET)
    except (OSError, RuntimeError, ValueError) as error:  # Ray raises any of these, depending on the address
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"RAY_ADDRESS={address!r} is not a running Ray cluster: {reason}; start the cluster, or unset RAY_ADDRESS "
            "to run on this machine"
        ) from None
