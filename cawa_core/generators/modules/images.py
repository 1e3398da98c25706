"""Checks of a network's images, before anything is measured on the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cawa_core.errors import InputError, first_line
from cawa_core.numerics.device_errors import is_machine_error

OUTSIDE = 1e-3
"""Largest distance of a pixel from [-1, 1]."""
ROW_ALONE = 1e-4
"""Largest change of a pixel with the batch that its image is in, due to float32 rounding."""

Images = Callable[[Tensor, Tensor], Tensor]
"""Function from latents ``[n, z_dim]`` and classes int64 ``[n]`` to images NCHW."""


def checked_images(images: Images, z: Tensor, class_ids: Tensor) -> Tensor:
    """Compute images and check them.

    Raises:
        InputError: the pass fails; or images are not square, grey or RGB, finite and in [-1, 1]; or they depend on
            chance or on the rest of the batch.
    """
    try:
        batch = images(z, class_ids)
    except InputError:
        raise
    except Exception as error:  # the user's code may raise anything
        if is_machine_error(error):
            raise
        raise InputError(
            f"network must take latents {list(z.shape)} and int64 class_ids {list(class_ids.shape)} below "
            f"{int(class_ids.max()) + 1}; got {type(error).__name__}: {first_line(error)}; fix z_dim or "
            "classes, or give call=lambda network, z, class_ids: ..."
        ) from error
    _require_form(batch, len(z))
    if not torch.equal(images(z, class_ids), batch):
        raise InputError(
            "network must give the same images twice in eval mode; it does not: remove its dropout or noise "
            "injection, or fix its noise as a buffer"
        )
    singles = torch.cat([images(*pair) for pair in zip(z.split(1), class_ids.split(1), strict=True)])
    if (singles - batch).abs().max() > ROW_ALONE:
        raise InputError(
            "network must compute each image independently of its batch; it does not: let batch norms use running "
            "statistics in eval mode"
        )
    return batch


def _require_form(images: Tensor, n: int) -> None:
    shape = list(images.shape)
    if len(shape) != 4 or shape[0] != n or shape[1] not in (1, 3) or shape[2] != shape[3]:
        raise InputError(f"network must give square images [{n}, 1 or 3, side, side]; got {shape}; fix them in call")
    if not images.isfinite().all():
        raise InputError("network must give finite images; got NaN or infinity; are its weights loaded?")
    low, high = images.min().item(), images.max().item()
    if low < -1 - OUTSIDE or high > 1 + OUTSIDE:
        raise InputError(f"network must give images in [-1, 1]; got {low:.3g} to {high:.3g}; scale them in call")
