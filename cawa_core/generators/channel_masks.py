"""Sets of channels on a device, copied there once for all masks of a site."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cawa_core.numerics.transfers import to_device

PADDING = -1


@dataclasses.dataclass(frozen=True)
class ChannelMasks:
    """Sets of channels of one site, one row per mask.

    Attributes:
        widths: number of channels of each mask.
        padded: channels by index, int64 ``[m, widest]``; -1 beyond a mask's width.
    """

    widths: tuple[int, ...]
    padded: Tensor

    @classmethod
    def of(cls, masks: Sequence[Sequence[int]], device: torch.device) -> ChannelMasks:
        """Copy sets of channels to a device; an empty set masks nothing."""
        widths = tuple(map(len, masks))
        padded = np.full((len(masks), max((1, *widths))), PADDING, dtype=np.int64)
        for row, mask in zip(padded, masks, strict=True):
            row[: len(mask)] = mask
        return cls(widths, to_device(torch.from_numpy(padded), device))

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.widths)

    def __getitem__(self, rows: slice) -> ChannelMasks:
        """Select masks, padded to the widest of them."""
        widths = self.widths[rows]
        return ChannelMasks(widths, self.padded[rows, : max((1, *widths))])

    @property
    def index(self) -> Tensor:
        """Channels of the masks, int64 ``[m, widest]``; channel 0 in place of padding."""
        return self.padded.clamp(min=0)

    @property
    def present(self) -> Tensor:
        """Mask of the places that hold a channel rather than padding, bool ``[m, widest]``."""
        return self.padded != PADDING

    def channels_of(self, mask: int) -> Tensor:
        """Return the channels of one mask, int64 ``[width]``, on the device."""
        return self.padded[mask, : self.widths[mask]]
