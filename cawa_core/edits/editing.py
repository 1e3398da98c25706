"""Image edits by changing channels at one site (paper, section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.generators.base import Generator
from cawa_core.interventions import Constant, Scale, Shift, Target

TARGETS: Mapping[str, Callable[[float], Target]] = {"multiply": Scale, "add": Shift, "set": Constant}
"""Change of features by operation; its argument is a factor, or a value in units of the features, see
:func:`channel_deviations`. Multiplying by 1 and adding 0 leave the image bit-identical."""


@torch.inference_mode()
def channel_deviations(
    generator: Generator, z: Tensor, class_ids: Tensor, site: int, batch_size: int = 64
) -> NDArray[np.float64]:
    """Return each channel's standard deviation over latents and pixels, a unit for adding and setting: ``[C]``.

    Args:
        z: latents ``[n, z_dim]``, treated as one population whatever the batch size.
        class_ids: classes of the latents, int64 ``[n]``.
        site: site of the channels.
        batch_size: latents per pass.
    """
    moments = []
    for rows, classes in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
        features = generator.run_to(site, rows, classes).features.float()  # [n, C, H, W]
        means = torch.stack([features.double().pow(power).mean(dim=(2, 3)) for power in (1, 2)])
        moments.append(means.cpu())
    first, second = torch.cat(moments, dim=1).mean(dim=1).numpy()
    deviations: NDArray[np.float64] = np.sqrt(np.maximum(second - np.square(first), 0))
    return deviations
