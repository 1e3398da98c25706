"""Changing pictures by changing some channels at one site (paper, section 5.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.generators.base import Channels, Generator, SiteState

Operation = Literal["multiply", "add", "set"]


@dataclasses.dataclass(frozen=True)
class ChannelEdit:
    """A change of some channels' features at one site, just after its ReLU (paper, section 5.1).

    Multiplying by 1 and adding 0 leave every bit of the picture as it was.

    Attributes:
        site: index of the site.
        channels: which channels there.
        operation: multiply the features by the strength, add it to them, or set them to it.
        strength: a factor, or a value in the features' own units; see :func:`channel_deviations`.
        region: weights in [0, 1] ``[image_size, image_size]``: how much of the change each place of the picture gets;
            None: all of it everywhere.
    """

    site: int
    channels: Channels
    operation: Operation
    strength: float
    region: Tensor | None = None

    def check(self, generator: Generator) -> None:
        """Check against a generator.

        Raises:
            InputError: a site or channel that it does not have, an unknown operation, a region of another size.
        """
        generator.require_channels(self.site, self.channels)
        if self.operation not in get_args(Operation):
            raise InputError(f"operation must be {', '.join(get_args(Operation))}; got {self.operation!r}")
        side = generator.image_size
        if self.region is not None and self.region.shape != (side, side):
            given = " x ".join(map(str, self.region.shape))
            raise InputError(f"region must be as large as the pictures, {side} x {side} pixels; got {given}")

    def applied(self, state: SiteState) -> SiteState:
        """The state with its features changed; they belong to the edit's site."""
        features, chosen = state.features.clone(), list(self.channels)
        before = features[:, chosen]
        if self.operation == "multiply":
            after = before * self.strength
        elif self.operation == "add":
            after = before + self.strength
        else:
            after = torch.full_like(before, self.strength)
        if self.region is not None:
            height, width = before.shape[2:]
            weight = functional.adaptive_avg_pool2d(self.region.to(before)[None, None], (height, width))
            after = torch.lerp(before, after, weight.expand_as(before))
        features[:, chosen] = after
        return state.with_features(features)


@torch.inference_mode()
def edited_images(generator: Generator, z: Tensor, class_ids: Tensor, edits: Sequence[ChannelEdit]) -> Tensor:
    """Pictures under any number of edits, each at its site; without edits, the generator's own.

    Args:
        z: latents ``[n, z_dim]``.
        class_ids: int64 ``[n]``.
        edits: in any order; those of one site apply as given.

    Returns:
        Images ``[n, C, H, W]`` in [-1, 1].

    Raises:
        InputError: an edit that does not fit the generator.
    """
    for edit in edits:
        edit.check(generator)
    state = generator.run_to(0, z, class_ids)
    for edit in sorted(edits, key=lambda one: one.site):
        state = edit.applied(generator.advance(state, edit.site))
    return generator.run_from(state.site, state)


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
