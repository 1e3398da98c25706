"""Number of images that go through the networks together."""

from __future__ import annotations

import dataclasses

import torch


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
