"""Number of images that go through the networks together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor


@dataclasses.dataclass
class BatchSize:
    """Images per forward pass; it changes results by rounding only.

    Attributes:
        images: at least 1; it shrinks when a device runs out of memory.
    """

    images: int

    def halve(self) -> bool:
        """Halve the batch size after an out-of-memory error; return False if it is already 1."""
        if self.images == 1:
            return False
        self.images = (self.images + 1) // 2
        torch.cuda.empty_cache()
        return True


def bytes_for_backward(compute: Callable[[], object]) -> int:
    """Return the bytes that autograd keeps for a backward pass through a computation, weights of networks included."""
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # a storage that is freed would pass its address on

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        compute()
    return sum(sizes.values())
