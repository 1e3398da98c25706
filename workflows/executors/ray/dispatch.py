"""Dispatch of shards on Ray: the driver owns the queue and feeds long-lived actors.

Shards go only to actors that have answered ``ready``. The shard of a dead actor returns to the queue, and a new actor
takes its place. Actors are added as the cluster grows and released when no work is left for them.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from cawa_core.errors import InputError, last_line
from cawa_core.numerics.device_errors import is_device_error
from cawa_core.storage import Storage, StorageError
from workflows.executors.ray.metrics import Metrics
from workflows.executors.ray.worker import ShardWorker
from workflows.executors.shard_queue import ShardQueue
from workflows.options.run import RunOptions
from workflows.planning.shards import Shard
from workflows.running.execution import Outcome
from workflows.running.job import Job

MAX_FAILED_STARTS = 3
"""Failed starts in a row, per worker, after which the run is abandoned."""
BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS = 2.0, 60.0
"""Wait before a lost actor is replaced; it doubles with each failed start, as on a broken node."""
LOOK_AROUND_SECONDS = 5.0
"""Interval at which the cluster is asked for its resources."""


@dataclasses.dataclass
class Slot:
    """A place for one actor, and the state of that actor.

    Attributes:
        start_at: earliest time at which an actor may start here.
        actor: handle of the current actor, if any.
        pending: reference to the running ``ready`` or ``execute`` call; None if the actor is idle.
        shard: shard that the actor is computing.
        previous: shard that the actor computed before.
        process: process ID of the actor, once it is ready.
        failures: failed starts since the last success.
    """

    start_at: float = 0.0
    actor: Any = None
    pending: Any = None
    shard: Shard | None = None
    previous: Shard | None = None
    process: int | None = None
    failures: int = 0

    @property
    def state(self) -> str:
        """``starting``, ``idle`` or ``busy``."""
        if self.process is None:
            return "starting"
        return "idle" if self.shard is None else "busy"


class Dispatch:
    """The queue and the slots of one run."""

    def __init__(self, job: Job, options: RunOptions, storage: Storage, shards: Sequence[Shard]) -> None:
        self.job = job
        self.options = options
        self.folder = storage.everywhere
        self.queue = ShardQueue(shards)
        self.metrics = Metrics()
        self.gpus = 1 if torch.device(options.device).type == "cuda" else 0
        self.slots: list[Slot] = []
        self.last_sign = time.monotonic()
        self.failed_starts = 0
        self.failed_writes = 0
        self.ever_started = False
        self.refusal = ""
        self.n_devices = 0
        self.asked_at = float("-inf")

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield receipts, retries and failures as they arrive.

        Raises:
            InputError: no worker started in time, or none can start.
            StorageError: results cannot be published.
        """
        try:
            while self.queue or self.busy_slots():
                self.start_actors()
                self.hand_out()
                self.metrics.show(len(self.queue), [slot.state for slot in self.slots])
                pending = [slot.pending for slot in self.slots if slot.pending is not None]
                if not pending:
                    time.sleep(0.1)
                    continue
                done, _ = ray.wait(pending, timeout=1.0)
                for slot in [slot for slot in self.slots if slot.pending in done]:
                    outcomes = list(self.settle(slot))
                    self.hand_out()  # before the caller records the outcome, so that no worker waits for the manifest
                    for outcome in outcomes:
                        self.metrics.count(outcome)
                        yield outcome
                self.require_live_workers()
        finally:
            for slot in self.slots:
                release(slot)

    def require_live_workers(self) -> None:
        """Raise an error if there has been no live worker, busy or idle, for ``start_timeout`` seconds."""
        if any(slot.process is not None for slot in self.slots):
            self.last_sign = time.monotonic()
        elif time.monotonic() - self.last_sign > self.options.start_timeout:
            raise InputError(self.starvation_message())

    def busy_slots(self) -> list[Slot]:
        """Return the slots whose actors are computing a shard."""
        return [slot for slot in self.slots if slot.shard is not None]

    def target_size(self) -> int:
        """Return the number of actors to run: as requested, else one per device in the cluster now."""
        if self.options.workers:
            return self.options.workers
        if time.monotonic() - self.asked_at > LOOK_AROUND_SECONDS:
            self.n_devices = int(ray.cluster_resources().get("GPU" if self.gpus else "CPU", 0))
            self.asked_at = time.monotonic()
        return max(1, self.n_devices)

    def resize(self) -> None:
        """Match the slots to work and resources: add slots for nodes that joined, release idle ones."""
        target = min(self.target_size(), len(self.queue) + len(self.busy_slots()))
        for slot in [slot for slot in self.slots if slot.shard is None]:
            starting = slot.process is None
            if len(self.slots) > target and (starting or not self.queue):
                release(slot)
                self.slots.remove(slot)
        self.slots += [Slot() for _ in range(target - len(self.slots))]

    def start_actors(self) -> None:
        """Resize, then start an actor in each empty slot whose back-off is over; actors share a machine's cores."""
        self.resize()
        worker = ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=0, max_task_retries=0)(ShardWorker)
        for slot in self.slots:
            if slot.actor is None and slot.start_at <= time.monotonic():
                slot.actor = worker.remote(self.job.spec, self.options, self.folder, len(self.slots))
                slot.pending = slot.actor.ready.remote()

    def hand_out(self) -> None:
        """Give a shard to each actor that is ready and idle."""
        for slot in self.slots:
            if slot.process is not None and slot.shard is None:
                slot.shard = self.queue.take(slot.previous)
                slot.pending = None if slot.shard is None else slot.actor.execute.remote(slot.shard)

    def settle(self, slot: Slot) -> Iterator[Outcome]:
        """Handle the result of a slot's pending call."""
        shard = slot.shard
        slot.shard = None
        try:
            result = ray.get(slot.pending)
            slot.pending = None
        except RayError as error:
            slot.pending = None
            yield from self.after_error(slot, shard, error)
            return
        self.failed_starts = 0
        if shard is None:
            slot.process = result
            self.ever_started = True
        else:
            slot.failures = 0
            self.failed_writes = 0
            slot.previous = shard
            yield result

    def after_error(self, slot: Slot, shard: Shard | None, error: RayError) -> Iterator[Outcome]:
        """Requeue the shard or give it up, and replace the actor if it died or its device is unusable."""
        cause = error.cause if isinstance(error, RayTaskError) else None
        is_node_error = cause is None or isinstance(cause, StorageError) or is_device_error(cause)
        if shard is None:
            self.count_failed_start(slot, error, cause)
        elif is_node_error:
            self.count_failed_write(cause)
            yield self.queue.lost(shard, traceback_text(error))
        else:
            yield self.queue.raised(shard, traceback_text(error))
        if shard is None or is_node_error:
            release(slot)
            back_off = BACK_OFF_SECONDS * 2**slot.failures
            slot.start_at = time.monotonic() + min(back_off, LONGEST_BACK_OFF_SECONDS)
            slot.failures += 1

    def count_failed_start(self, slot: Slot, error: RayError, cause: BaseException | None) -> None:
        """Raise an error if every actor is refused or fails repeatedly; a single bad node does not stop the run."""
        other_slots = [other for other in self.slots if other is not slot]
        self.refusal = last_line(traceback_text(error))
        if isinstance(cause, InputError | StorageError):
            self.refusal = str(cause)
            if not self.ever_started and all(other.failures for other in other_slots):
                raise type(cause)(f"a worker cannot start: {cause}") from None
        self.failed_starts += 1
        if self.failed_starts >= MAX_FAILED_STARTS * len(self.slots) and all(
            other.process is None for other in other_slots
        ):
            raise InputError(
                f"no worker starts: {self.failed_starts} attempts in a row failed, the last with {self.refusal}"
            ) from error

    def count_failed_write(self, cause: BaseException | None) -> None:
        """Raise an error after as many failed writes in a row as there are workers: the store is unreachable.

        A single failure may come from a node that cannot reach the store.
        """
        if isinstance(cause, StorageError):
            self.failed_writes += 1
            if self.failed_writes >= len(self.slots):
                raise StorageError(str(cause)) from None

    def starvation_message(self) -> str:
        """Explain why no worker started."""
        return (
            f"no worker started within start_timeout={self.options.start_timeout:.0f} s: requested "
            f"{len(self.slots)} with 1 CPU and {self.gpus} GPU each, the cluster offers {ray.cluster_resources()}; "
            "request fewer with --workers, or add nodes"
            + (f". The last attempt failed with: {self.refusal}" if self.refusal else "")
        )


def release(slot: Slot) -> None:
    """Stop a slot's actor, if it has one."""
    if slot.actor is not None:
        ray.kill(slot.actor)
    slot.actor = slot.pending = slot.process = slot.previous = None


def traceback_text(error: RayError) -> str:
    """Format an error and its traceback as text."""
    return "".join(traceback.format_exception(error))
