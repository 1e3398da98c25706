"""Who does what on Ray: a queue that the driver owns, fed to long-lived actors.

Shards go only to actors that have answered ``ready``; what a dead actor held goes back to the queue, and a new actor
takes its place. Actors come as the cluster grows, and go when there is nothing left for them.
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
from cawa_core.storage import Storage, StorageError
from workflows.config import RunOptions
from workflows.execution import Outcome
from workflows.executors.ray_metrics import Metrics
from workflows.executors.ray_worker import ShardWorker
from workflows.executors.shard_queue import ShardQueue
from workflows.shards import Shard
from workflows.workbench import Workbench

MAX_FAILED_STARTS = 3
"""Times the number of workers: so many starts in a row without one that succeeds, and the run is given up."""
BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS = 2.0, 60.0
"""Until a lost actor is replaced: twice as long each time that it does not start, as on a node that is broken."""
LOOK_AROUND_SECONDS = 5.0
"""How often the cluster is asked what it offers."""


@dataclasses.dataclass
class Slot:
    """A place for one actor, and what that actor is doing.

    Attributes:
        start_at: when an actor may be started here.
        actor: handle of the present actor, if there is one.
        pending: reference to ``ready`` or to the shard in hand; None where it does nothing.
        shard: the shard in hand.
        process: the actor's process, once it is ready.
        failures: starts that failed since the last that did not.
    """

    start_at: float = 0.0
    actor: Any = None
    pending: Any = None
    shard: Shard | None = None
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

    def __init__(self, bench: Workbench, options: RunOptions, storage: Storage, shards: Sequence[Shard]) -> None:
        self.bench, self.options, self.folder = bench, options, storage.everywhere
        self.queue, self.metrics = ShardQueue(shards), Metrics()
        self.gpus = 1 if torch.device(options.device).type == "cuda" else 0
        self.slots: list[Slot] = []
        self.last_sign = time.monotonic()
        self.failed_starts = self.failed_writes = 0
        self.ever_started, self.refusal = False, ""
        self.offered, self.asked_at = 0, float("-inf")

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Receipts, retries and failures as they come.

        Raises:
            InputError: no worker starts, or none can.
            StorageError: what was computed cannot be published.
        """
        try:
            while self.queue or self.working():
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
                    self.hand_out()  # before what came is recorded: nobody waits for the manifest
                    for outcome in outcomes:
                        self.metrics.count(outcome)
                        yield outcome
                self.look_for_life()
        finally:
            for slot in self.slots:
                release(slot)

    def look_for_life(self) -> None:
        """Raise where no worker has been there for a while: none that computes, or waits for a shard that pauses."""
        if any(slot.process is not None for slot in self.slots):
            self.last_sign = time.monotonic()
        elif time.monotonic() - self.last_sign > self.options.start_timeout:
            raise InputError(self.starved())

    def working(self) -> list[Slot]:
        """Slots with a shard in hand."""
        return [slot for slot in self.slots if slot.shard is not None]

    def wanted(self) -> int:
        """How many actors: those asked for, else one for each device that the cluster has now."""
        if self.options.workers:
            return self.options.workers
        if time.monotonic() - self.asked_at > LOOK_AROUND_SECONDS:
            self.offered = int(ray.cluster_resources().get("GPU" if self.gpus else "CPU", 0))
            self.asked_at = time.monotonic()
        return max(1, self.offered)

    def resize(self) -> None:
        """As many slots as there is work and room for: new ones on nodes that joined, idle ones released."""
        target = min(self.wanted(), len(self.queue) + len(self.working()))
        for slot in [slot for slot in self.slots if slot.shard is None]:
            starting = slot.process is None
            if len(self.slots) > target and (starting or not self.queue):
                release(slot)
                self.slots.remove(slot)
        self.slots += [Slot() for _ in range(target - len(self.slots))]

    def start_actors(self) -> None:
        """An actor with a share of the machine for each empty slot whose pause is over, after ``resize``."""
        self.resize()
        worker = ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=0, max_task_retries=0)(ShardWorker)
        for slot in self.slots:
            if slot.actor is None and slot.start_at <= time.monotonic():
                slot.actor = worker.remote(self.bench.spec, self.options, self.folder, len(self.slots))
                slot.pending = slot.actor.ready.remote()

    def hand_out(self) -> None:
        """A shard to each actor that is ready and idle."""
        for slot in self.slots:
            if slot.process is not None and slot.shard is None:
                slot.shard = self.queue.take()
                slot.pending = None if slot.shard is None else slot.actor.execute.remote(slot.shard)

    def settle(self, slot: Slot) -> Iterator[Outcome]:
        """Take what a slot's pending call gave."""
        shard, slot.shard = slot.shard, None
        try:
            result, slot.pending = ray.get(slot.pending), None
        except RayError as error:
            slot.pending = None
            yield from self.after_error(slot, shard, error)
            return
        self.failed_starts = slot.failures = 0
        if shard is None:
            slot.process, self.ever_started = result, True
        else:
            self.failed_writes = 0
            yield result

    def after_error(self, slot: Slot, shard: Shard | None, error: RayError) -> Iterator[Outcome]:
        """Put the shard back, or give it up; replace the actor where it is gone or its device cannot go on."""
        cause = error.cause if isinstance(error, RayTaskError) else None
        of_the_node = cause is None or isinstance(cause, StorageError)
        if shard is None:
            self.count_failed_start(slot, error, cause)
        elif of_the_node:
            self.count_failed_write(cause)
            yield self.queue.lost(shard, written_out(error))
        else:
            yield self.queue.raised(shard, written_out(error))
        if shard is None or of_the_node or is_of_the_device(cause):
            release(slot)
            back_off = BACK_OFF_SECONDS * 2**slot.failures
            slot.start_at = time.monotonic() + min(back_off, LONGEST_BACK_OFF_SECONDS)
            slot.failures += 1

    def count_failed_start(self, slot: Slot, error: RayError, cause: BaseException | None) -> None:
        """Give up where every actor is refused, or fails over and over; one bad node costs only itself."""
        others = [other for other in self.slots if other is not slot]
        self.refusal = last_line(written_out(error))
        if isinstance(cause, InputError | StorageError):
            self.refusal = str(cause)
            if not self.ever_started and all(other.failures for other in others):
                raise type(cause)(f"a worker cannot start: {cause}") from None
        self.failed_starts += 1
        if self.failed_starts >= MAX_FAILED_STARTS * len(self.slots) and all(other.process is None for other in others):
            raise InputError(
                f"workers must start, and {self.failed_starts} in a row did not: {self.refusal}"
            ) from error

    def count_failed_write(self, cause: BaseException | None) -> None:
        """Give up where as many workers as there are could not publish, and none could in between: the store is away.

        A single one may be of a node that cannot reach it.
        """
        if isinstance(cause, StorageError):
            self.failed_writes += 1
            if self.failed_writes >= len(self.slots):
                raise StorageError(str(cause)) from None

    def starved(self) -> str:
        """Why nothing started."""
        return (
            f"no worker started within start_timeout={self.options.start_timeout:.0f} s: asked for "
            f"{len(self.slots)} of 1 CPU and {self.gpus} GPU each, the cluster offers {ray.cluster_resources()}; "
            "ask for fewer with --workers, or add nodes"
            + (f". The last one that tried: {self.refusal}" if self.refusal else "")
        )


def release(slot: Slot) -> None:
    """Stop a slot's actor, if it has one."""
    if slot.actor is not None:
        ray.kill(slot.actor)
    slot.actor = slot.pending = slot.process = None


def written_out(error: RayError) -> str:
    """A traceback as text."""
    return "".join(traceback.format_exception(error))


def is_of_the_device(error: BaseException | None) -> bool:
    """Whether an error leaves the process's device unusable: all later work there would fail, too."""
    kind = getattr(torch, "AcceleratorError", ())
    return isinstance(error, kind) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))
