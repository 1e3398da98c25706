"""``cawa latents --positives``: the channels and latent dimensions that a few ticked images have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.directions.direction import Direction, unit
from cawa_core.directions.ticks import Shared, shared
from cawa_core.latents.dimensions import LATENT
from workflows.analyses.directions.command import LatentsCommandOptions
from workflows.lab import Lab

Array = NDArray[np.float64]

LEAST_SPREAD = 1e-6
"""Spread of the ratio β/γ, as a share of its mean, below which the latent code does not change it."""
MOST_SIGN_CHANGES = 0.01
"""Share of latents whose gain may have the other sign: the mean of β/γ is far from its middle where more have."""


@dataclasses.dataclass(frozen=True)
class ChannelRank:
    """A channel that positive images share, with the mean of its standardised ratio β/γ."""

    site: int
    channel: int
    relevance: float
    mean: float


@dataclasses.dataclass(frozen=True)
class Ticked:
    """Channels and dimensions that positive images share.

    Attributes:
        channels: the most relevant first.
        dimensions: relevance of each latent dimension.
        direction: latent direction of the most relevant dimensions, towards the positives.
        lines: what the command prints.
        described: the same as data.
    """

    channels: Sequence[ChannelRank]
    dimensions: Shared
    direction: Direction
    lines: Sequence[str]
    described: dict[str, Any]


def ticked(lab: Lab, command: LatentsCommandOptions) -> Ticked:
    """Rank channels and latent dimensions by what the positives of the lab's class share."""
    class_id = lab.class_ids[0]
    z = lab.latents(class_id, command.offered)[list(command.positives)]
    channels = shared_channels(lab, class_id, z)[: command.listed]
    dimensions = shared_dimensions(lab, z)
    best = dimensions.order[: command.listed]
    weights = torch.zeros(lab.generator.z_dim)
    weights[torch.from_numpy(best.copy())] = torch.from_numpy(dimensions.mean[best]).float()
    direction = Direction.in_space(LATENT, unit(weights), lab.generator)
    lines = ["site  channel  relevance  mean of β/γ (in standard deviations from the class)"]
    lines += [f"{rank.site:4} {rank.channel:8} {rank.relevance:10.2f} {rank.mean:+8.2f}" for rank in channels]
    lines += ["latent dimension  relevance  mean"]
    lines += [f"{each:16} {dimensions.relevance[each]:10.2f} {dimensions.mean[each]:+5.2f}" for each in best]
    described = {
        "class_id": class_id,
        "positives": list(command.positives),
        "channels": [dataclasses.asdict(rank) for rank in channels],
        "dimensions": [
            {"dimension": int(each), "relevance": dimensions.relevance[each], "mean": dimensions.mean[each]}
            for each in best
        ],
    }
    return Ticked(channels, dimensions, direction, lines, described)


@torch.inference_mode()
def shared_channels(lab: Lab, class_id: int, z: Tensor) -> list[ChannelRank]:
    """Rank the channels of all sites that reach the image, the most relevant first.

    Args:
        lab: lab with the generator.
        class_id: class of the positives.
        z: latents of the positives ``[n, z_dim]``.
    """
    ranks = []
    for site in lab.generator.sites:
        modulated = lab.generator.gains_and_offsets(site.index, z, class_id)
        gain, offset = (part.double().cpu().numpy() for part in modulated)
        awareness = lab.class_awareness((class_id,), site.index)
        with np.errstate(divide="ignore", invalid="ignore"):
            centre, spread = awareness.category_awareness[0], np.sqrt(awareness.latent_awareness_robust[0])
            standardised = (offset / gain - centre) / spread
        varies = spread > LEAST_SPREAD * np.maximum(1, np.abs(centre))
        keeps_sign = np.abs(awareness.gain_sign_probability[0] - 0.5) >= 0.5 - MOST_SIGN_CHANGES
        result = shared(np.where(varies & keeps_sign, standardised, 0.0))
        ranks += [
            ChannelRank(site.index, channel, float(result.relevance[channel]), float(result.mean[channel]))
            for channel in range(site.channels)
            if channel not in site.inert_channels
        ]
    return sorted(ranks, key=lambda rank: (-rank.relevance, rank.site, rank.channel))


def shared_dimensions(lab: Lab, z: Tensor) -> Shared:
    """Rank the latent dimensions by what latents ``[n, z_dim]`` share."""
    return shared(z.double().cpu().numpy() / lab.generator.latent_deviation)
