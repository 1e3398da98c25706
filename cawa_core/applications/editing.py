"""Changing pictures by changing some channels at one site (paper, section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import Generator
from cawa_core.interventions import Constant, Scale, Shift, Target

TARGETS: Mapping[str, Callable[[float], Target]] = {"multiply": Scale, "add": Shift, "set": Constant}
"""Operation => what it makes of features with a factor, or with a value in the features' own units; see
:func:`channel_deviations`. Multiplying by 1 and adding 0 leave every bit of the image as it was."""


@torch.inference_mode()
def channel_deviations(
    generator: Generator, z: Tensor, class_ids: Tensor, site: int, batch_size: int = 64
) -> NDArray[np.float64]:
    """Standard deviation of each channel's features over latents and places, a unit for adding and setting: ``[C]``.

    Args:
        z: latents ``[n, z_dim]``, all of them one population however they are cut into batches.
        class_ids: int64 ``[n]``.
        site: of the channels.
        batch_size: latents to a pass.
    """
    moments = []
    for rows, classes in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
        features = generator.run_to(site, rows, classes).features.float()  # [n, C, H, W]
        means = torch.stack([features.double().pow(power).mean(dim=(2, 3)) for power in (1, 2)])
        moments.append(means.cpu())
    first, second = torch.cat(moments, dim=1).mean(dim=1).numpy()
    deviations: NDArray[np.float64] = np.sqrt(np.maximum(second - np.square(first), 0))
    return deviations
