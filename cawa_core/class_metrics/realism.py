"""How close single generated images come to real ones (Kynkäänniemi et al. 2019, section 5)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

BLOCK_ROWS = 256
"""Rows whose distances to all reals are held at once."""


@dataclasses.dataclass(frozen=True)
class RealManifold:
    """Balls around real images; those of a radius above the median are left out, as outliers let everything pass.

    Attributes:
        centres: features float64 ``[n, d]``.
        radii: distance of each to its k-th nearest neighbour among all reals ``[n]``.
    """

    centres: Tensor
    radii: Tensor

    @classmethod
    def of(cls, real: Tensor, neighbours: int) -> RealManifold:
        """From features ``[n_real, d]`` of real images.

        Args:
            real: more than ``neighbours``.
            neighbours: k, at least 1.

        Raises:
            ValueError: too few features, or ``neighbours`` is not positive.
        """
        if not 1 <= neighbours < len(real):
            raise ValueError(f"neighbours must be in 1..{len(real) - 1} for {len(real)} reals; got {neighbours}")
        real = real.double()
        radii = torch.cat([_distances(rows, real).kthvalue(neighbours + 1).values for rows in real.split(BLOCK_ROWS)])
        kept = radii <= radii.median()
        return cls(real[kept], radii[kept])

    def realism(self, fake: Tensor) -> Tensor:
        """Largest ratio of a ball's radius to its centre's distance from the fake: at least 1 inside of some ball.

        Args:
            fake: features ``[n_fake, d]``, on any device.

        Returns:
            float64 ``[n_fake]`` on the device of the centres; infinite where a fake is a real.
        """
        blocks = fake.to(self.centres.device).double().split(BLOCK_ROWS)
        return torch.cat([(self.radii / _distances(rows, self.centres)).amax(dim=1) for rows in blocks])


def device_with_room(real: Tensor, device: torch.device) -> torch.device:
    """The device where a manifold of features ``[n_real, d]`` takes at most half of what is free, else the CPU."""
    if device.type != "cuda":
        return torch.device("cpu")
    doubles = 3 * real.numel() + 2 * BLOCK_ROWS * len(real)  # features, those kept, a copy; distances and their order
    free, _ = torch.cuda.mem_get_info(device)
    return device if 2 * 8 * doubles <= free else torch.device("cpu")


def _distances(first: Tensor, second: Tensor) -> Tensor:
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
