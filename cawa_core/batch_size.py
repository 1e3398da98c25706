"""How many images go through the networks together."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass
class BatchSize:
    """Images to a forward pass; changes no number beyond rounding.

    Attributes:
        images: at least 1; fewer from the moment on that a device has no memory for them.
    """

    images: int

    def halve(self) -> bool:
        """From now on half as many, where memory ran out; False: it is one already."""
        if self.images == 1:
            return False
        self.images = (self.images + 1) // 2
        torch.cuda.empty_cache()
        return True
