"""Copies between the host and a GPU that stop neither of them.

A plain ``tensor.to("cuda")``, ``tensor.cpu()``, ``torch.tensor(list, device="cuda")`` or an index by a Python list
stops the host until the GPU has finished everything that was queued before.
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
        tensors: tensors on the CPU, filled once ``arrival`` has happened.
        arrival: event after which all of them are filled; None if they were on the CPU already.
    """

    tensors: Mapping[str, Tensor]
    arrival: torch.cuda.Event | None

    @classmethod
    def begin(cls, tensors: Mapping[str, Tensor]) -> Download:
        """Request copies; a GPU makes them when its queue comes to them, before anything that is requested later."""
        devices = {tensor.device for tensor in tensors.values() if tensor.device.type == "cuda"}
        copies = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
        if not devices:
            return cls(copies, None)
        arrival = torch.cuda.Event()
        arrival.record(torch.cuda.current_stream(devices.pop()))
        return cls(copies, arrival)

    def wait(self) -> Mapping[str, Tensor]:
        """Wait for the copies to be complete and return them."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return self.tensors


def in_order(downloads: Iterable[Download]) -> Iterator[Mapping[str, Tensor]]:
    """Yield downloads in order, waiting for each only after the next one has begun.

    A GPU therefore computes the next batch while the caller works on this one.
    """
    under_way: deque[Download] = deque()
    for download in downloads:
        under_way.append(download)
        if len(under_way) > 1:
            yield under_way.popleft().wait()
    for download in under_way:
        yield download.wait()
