"""Realism of single generated images (Kynkäänniemi et al. 2019, section 5)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

BLOCK_ROWS = 256
"""Images whose distances to all real images are held in memory at once."""


@dataclasses.dataclass(frozen=True)
class RealManifold:
    """Balls around real images, up to the median radius: the ball of an outlier would contain everything.

    Attributes:
        centres: features of the real images, float64 ``[n, d]``.
        radii: distance of each centre to its k-th nearest neighbour among all real images, ``[n]``.
    """

    centres: Tensor
    radii: Tensor

    @classmethod
    def of(cls, real: Tensor, neighbours: int) -> RealManifold:
        """Build the manifold of real images.

        Args:
            real: features ``[n_real, d]``, more than ``neighbours``.
            neighbours: k, at least 1.

        Raises:
            ValueError: too few features, or ``neighbours`` is not positive.
        """
        if not 1 <= neighbours < len(real):
            raise ValueError(f"neighbours must be in 1..{len(real) - 1} for {len(real)} real images; got {neighbours}")
        real = real.double()
        radii = torch.cat([_distances(rows, real).kthvalue(neighbours + 1).values for rows in real.split(BLOCK_ROWS)])
        selected = radii <= radii.median()
        return cls(real[selected], radii[selected])

    def realism(self, fake: Tensor) -> Tensor:
        """Return the largest ratio of a ball's radius to its centre's distance from the fake; >= 1 inside any ball.

        Args:
            fake: features ``[n_fake, d]``, on any device.

        Returns:
            float64 ``[n_fake]`` on the device of the centres; infinite where a fake equals a centre.
        """
        blocks = fake.to(self.centres.device).double().split(BLOCK_ROWS)
        return torch.cat([(self.radii / _distances(rows, self.centres)).amax(dim=1) for rows in blocks])


def device_with_room(real: Tensor, device: torch.device) -> torch.device:
    """Return ``device`` if a manifold of features ``[n_real, d]`` needs at most half its free memory, else the CPU."""
    if device.type != "cuda":
        return torch.device("cpu")
    # Features, centres and a copy of the features; a block of distances and their order.
    doubles = 3 * real.numel() + 2 * BLOCK_ROWS * len(real)
    free, _ = torch.cuda.mem_get_info(device)
    return device if 2 * 8 * doubles <= free else torch.device("cpu")


def _distances(first: Tensor, second: Tensor) -> Tensor:
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
