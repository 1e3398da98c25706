"""Copies between the host and a GPU that do not stop either of them.

A plain ``tensor.to("cuda")``, ``tensor.cpu()``, ``torch.tensor(list, device="cuda")`` or an index by a Python list
stops the host until the GPU has done all that it was asked for before.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device; a GPU takes it from pinned memory when its queue comes to it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


@dataclasses.dataclass(frozen=True)
class Download:
    """Tensors on their way to the CPU.

    Attributes:
        tensors: on the CPU; filled once ``arrival`` has happened.
        arrival: when all of them are there; None where they were on the CPU already.
    """

    tensors: Mapping[str, Tensor]
    arrival: torch.cuda.Event | None

    @classmethod
    def begin(cls, tensors: Mapping[str, Tensor]) -> Download:
        """Ask for copies; a GPU makes them when its queue comes to them, before anything that it is asked for later."""
        devices = {tensor.device for tensor in tensors.values() if tensor.device.type == "cuda"}
        copies = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
        if not devices:
            return cls(copies, None)
        arrival = torch.cuda.Event()
        arrival.record(torch.cuda.current_stream(devices.pop()))
        return cls(copies, arrival)

    def wait(self) -> Mapping[str, Tensor]:
        """Return the copies once they are whole."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return self.tensors


def in_order(downloads: Iterable[Download]) -> Iterator[Mapping[str, Tensor]]:
    """Wait for downloads one after the other, each when the next one has begun.

    So a GPU makes the next batch while the caller works on this one.
    """
    under_way: deque[Download] = deque()
    for download in downloads:
        under_way.append(download)
        if len(under_way) > 1:
            yield under_way.popleft().wait()
    for download in under_way:
        yield download.wait()
