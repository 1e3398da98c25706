"""On a Ray cluster, or on this machine's cores: long-lived actors fed from a queue that the driver owns.

Shards go only to actors that have answered ``ready``; what a dead actor held goes back to the queue, and a
new actor takes its place. A shard that fails too often is given up and reported, and the rest goes on.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from cawa_core.errors import InputError
from cawa_core.tables import Receipt
from workflows.config import RunOptions
from workflows.execution import Failure, Outcome, execute
from workflows.shards import Shard
from workflows.workbench import Workbench

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayError, RayTaskError

MAX_ATTEMPTS = 3
BACK_OFF_SECONDS = 2.0
OBJECT_STORE_BYTES = 128 * 2**20
"""Enough for receipts; nothing large travels."""


class ShardWorker:
    """One actor: loads the models once, then computes shards."""

    def __init__(self, spec: Any, options: RunOptions, folder: str, threads: int) -> None:  # noqa: ANN401
        torch.set_num_threads(threads)
        self.bench = Workbench.build(spec, options)
        self.folder = Path(folder)

    def ready(self) -> int:
        """The worker's process, once its models are loaded."""
        return os.getpid()

    def execute(self, shard: Shard) -> Receipt:
        """Compute and publish one shard."""
        return execute(self.bench, self.folder, shard)


@dataclasses.dataclass
class Slot:
    """A place for one actor, and what that actor is doing.

    Attributes:
        actor: handle of the present actor.
        pending: reference to ``ready`` or to the shard in hand.
        shard: the shard in hand; None while the actor starts.
        process: the actor's process, once it has started.
    """

    actor: Any
    pending: Any
    shard: Shard | None = None
    process: int | None = None


class RayExecutor:
    """Driver-owned queue over ``options.workers`` actors."""

    def run(self, bench: Workbench, options: RunOptions, folder: Path, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """Execute the shards; every actor and, if it was started here, Ray itself is stopped at the end."""
        started_here = connect()
        try:
            yield from Dispatch(bench, options, folder, shards).outcomes()
        finally:
            if started_here:
                ray.shutdown()


def connect() -> bool:
    """Join the cluster of ``RAY_ADDRESS`` or start Ray on this machine; says whether it was started here."""
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    return True


class Dispatch:
    """The queue and the slots of one run."""

    def __init__(self, bench: Workbench, options: RunOptions, folder: Path, shards: Sequence[Shard]) -> None:
        self.bench, self.options, self.folder = bench, options, folder.absolute()
        self.queue = deque(shards)
        self.attempts: Counter[str] = Counter()
        self.gpus = 1 if torch.device(options.device).type == "cuda" else 0
        available = ray.cluster_resources().get("GPU" if self.gpus else "CPU", 0)
        self.n_workers = min(options.workers or max(1, int(available)), len(self.queue))
        self.slots: list[Slot] = []
        self.last_sign = time.monotonic()
        self.failed_starts = 0

    def outcomes(self) -> Iterator[Outcome]:
        """Receipts and failures as they come."""
        self.slots = [self.new_slot() for _ in range(self.n_workers)]
        try:
            while self.queue or self.working():
                done, _ = ray.wait([slot.pending for slot in self.slots], timeout=1.0)
                for slot in [slot for slot in self.slots if slot.pending in done]:
                    yield from self.settle(slot)
                if not self.working() and time.monotonic() - self.last_sign > self.options.start_timeout:
                    raise InputError(self.starved())
        finally:
            for slot in self.slots:
                ray.kill(slot.actor)

    def working(self) -> bool:
        """Whether any actor has a shard in hand."""
        return any(slot.shard is not None for slot in self.slots)

    def new_slot(self) -> Slot:
        """Start an actor with a share of the machine."""
        worker = ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=0, max_task_retries=0)(ShardWorker)
        threads = 1 if self.n_workers > 1 else max(1, os.cpu_count() or 1)
        actor = worker.remote(self.bench.spec, self.options, str(self.folder), threads)
        return Slot(actor, actor.ready.remote())

    def settle(self, slot: Slot) -> Iterator[Outcome]:
        """Take what a slot's pending call gave, and give the slot its next work."""
        shard, slot.shard = slot.shard, None
        try:
            result = ray.get(slot.pending)
        except RayError as error:
            if shard is None:
                self.count_failed_start(error)
            else:
                yield from self.put_back(shard, error)
            if shard is None or not isinstance(error, RayTaskError):
                self.replace(slot)
                return
        else:
            self.last_sign, self.failed_starts = time.monotonic(), 0
            if shard is None:
                slot.process = result
            else:
                yield result
        self.feed(slot)

    def count_failed_start(self, error: RayError) -> None:
        """Give up where actors fail to start over and over, with none starting in between."""
        self.failed_starts += 1
        if self.failed_starts >= MAX_ATTEMPTS * self.n_workers:
            raise RuntimeError(f"workers cannot start: {error}") from error

    def put_back(self, shard: Shard, error: RayError) -> Iterator[Outcome]:
        """Queue a failed shard again, or give it up."""
        self.attempts[shard.name] += 1
        if self.attempts[shard.name] >= MAX_ATTEMPTS:
            yield Failure(shard, "".join(traceback.format_exception(error)))
        else:
            self.queue.append(shard)

    def replace(self, slot: Slot) -> None:
        """A new actor in the place of a lost one, after a pause."""
        ray.kill(slot.actor)
        time.sleep(BACK_OFF_SECONDS)
        fresh = self.new_slot()
        slot.actor, slot.pending, slot.process = fresh.actor, fresh.pending, None

    def feed(self, slot: Slot) -> None:
        """Hand out the next shard, or release the actor where none is left."""
        if not self.queue:
            self.slots.remove(slot)
            ray.kill(slot.actor)
            return
        slot.shard = self.queue.popleft()
        slot.pending = slot.actor.execute.remote(slot.shard)

    def starved(self) -> str:
        """Why nothing started."""
        return (
            f"no worker started within start_timeout={self.options.start_timeout:.0f} s: asked for {self.n_workers} of "
            f"1 CPU and {self.gpus} GPU each, the cluster offers {ray.cluster_resources()}; "
            "ask for fewer with --workers, or add nodes"
        )
