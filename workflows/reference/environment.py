"""Device, time limit, checkpoints and batches of a training."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cawa_core.storage import write_atomically


@dataclasses.dataclass(frozen=True)
class Environment:
    """Device, arithmetic, time limit and checkpoints of a training.

    Attributes:
        device: device of networks and data.
        bfloat16: whether forward passes run under bfloat16 autocast.
        seconds: time after which the training ends with what it has reached.
        checkpoints: folder of the checkpoints; None to write and read none.
        checkpoint_seconds: least time between two checkpoints.
    """

    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    bfloat16: bool = True
    seconds: float = math.inf
    checkpoints: Path | None = None
    checkpoint_seconds: float = 600.0

    def autocast(self) -> torch.autocast:
        """Return the context that forward passes of a training run in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def for_seconds(self, seconds: float) -> Environment:
        """Return the same environment with another time limit, at least one second."""
        return dataclasses.replace(self, seconds=max(1.0, seconds))


class Session:
    """Clock and checkpoint of one training that may have been interrupted before.

    Args:
        name: name of the checkpoint.
        environment: time limit and folder.
    """

    def __init__(self, name: str, environment: Environment) -> None:
        self.environment = environment
        self.start = time.monotonic()
        self.last_checkpoint = self.start
        folder = environment.checkpoints
        self.path = None if folder is None else folder / f"{name}.checkpoint"

    def share_of_time(self) -> float:
        """Return the share of the time limit that is over; 0 without a limit."""
        return (time.monotonic() - self.start) / self.environment.seconds

    def saved(self) -> dict[str, Any] | None:
        """Return the state that was saved last; None if there is none."""
        if self.path is None or not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        return state

    def save(self, state: Callable[[], dict[str, Any]], *, now: bool = False) -> bool:
        """Save a state if a checkpoint is due, or now; return whether one was due."""
        if not now and time.monotonic() - self.last_checkpoint < self.environment.checkpoint_seconds:
            return False
        if self.path is not None:
            buffer = io.BytesIO()
            torch.save(state(), buffer)
            write_atomically(self.path, buffer.getvalue())
        self.last_checkpoint = time.monotonic()
        return True


class ShuffledBatches:
    """Endless batches of rows, each epoch in a new order.

    Args:
        n_rows: number of rows.
        size: rows per batch.
        random: source of the orders; its device is that of the rows.
        keep_rest: whether an epoch ends with its incomplete batch, or leaves it out.
    """

    def __init__(self, n_rows: int, size: int, random: torch.Generator, *, keep_rest: bool) -> None:
        self.n_rows = n_rows
        self.size = size
        self.random = random
        self.keep_rest = keep_rest
        self.order = torch.empty(0, dtype=torch.int64, device=random.device)
        self.position = 0

    def __next__(self) -> Tensor:
        """Return the rows of the next batch, int64 ``[size]``, or fewer at the end of an epoch with its rest."""
        needed = 1 if self.keep_rest else self.size
        if self.position + needed > len(self.order):
            self.order = torch.randperm(self.n_rows, generator=self.random, device=self.random.device)
            self.position = 0
        rows = self.order[self.position : self.position + self.size]
        self.position += self.size
        return rows

    def state(self) -> dict[str, Any]:
        """Return everything that decides the later batches, the random source included."""
        return {"order": self.order, "position": self.position, "random": self.random.get_state()}

    def load(self, state: dict[str, Any]) -> None:
        """Resume where a state was taken."""
        self.order = state["order"].to(self.random.device)
        self.position = state["position"]
        self.random.set_state(state["random"])


def on_device(network: nn.Module, environment: Environment) -> nn.Module:
    """Move a network to the device, in the memory format that convolutions run fastest in."""
    return network.to(environment.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
