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
    storages: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> None:
        # Storages, since a graph that holds its own outputs is never freed; held, so that no address comes twice.
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()

    with torch.autograd.graph.saved_tensors_hooks(note, lambda _: _):
        compute()
    return sum(storage.nbytes() for storage in storages.values())


GRAPH_BYTES = {"cpu": 2**31, "cuda": 2**34}
"""Maximum bytes that are kept for a backward pass, unless a single image takes more."""


def images_per_backward(compute_one: Callable[[], object], device: torch.device, batch_size: int) -> int:
    """Return how many images a backward pass takes at once: at most a batch, and as many as fit into memory.

    Args:
        compute_one: the computation for a single image.
        device: device of the computation.
        batch_size: images per forward pass.
    """
    return max(1, min(batch_size, GRAPH_BYTES[device.type] // max(1, bytes_for_backward(compute_one))))
