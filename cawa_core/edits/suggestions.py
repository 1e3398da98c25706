"""Search for the channels that edit a class well: they change its images, in one place, and preserve the class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Generator, class_ids_of
from cawa_core.interventions import Intervention, Scale, sweep
from cawa_core.statistics.standard_errors import standard_error

FACTOR = 3.0
"""Factor by which suggestions multiply a channel (paper, Fig. 5b)."""
LEAST_CHANGE = 1e-5
"""Smallest change of any pixel, as a share of black to white, that counts. A channel that is silent for a latent
changes only the rounding of the image, which would otherwise have a locality."""


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """Mean effects over latents of multiplying a channel on images of a class, with standard errors.

    Attributes:
        site, channel: site and index of the multiplied channel.
        change: mean absolute change of a pixel, as a share of the range from black to white.
        locality: 1 minus the share of the image that the change covers, (Σ|d|)² / (P Σd²) over its P pixels: 0 if all
            pixels change equally, close to 1 if few change.
        kept: class retention, the ratio of the probability of the class after the edit to that before, at most 1.
        merit: product of the three, which ranks suggestions.
        change_stderr, locality_stderr, kept_stderr, merit_stderr: standard errors over latents, to first order for
            the merit; NaN for a single latent.
        n_samples: number of latents.
    """

    site: int
    channel: int
    change: float
    locality: float
    kept: float
    merit: float
    change_stderr: float
    locality_stderr: float
    kept_stderr: float
    merit_stderr: float
    n_samples: int

    @classmethod
    def of(cls, site: int, channel: int, values: NDArray[np.float64]) -> Suggestion:
        """Summarise change, locality and class retention of each latent, ``[n, 3]``."""
        means = values.mean(axis=0)
        slopes = np.array([means[1] * means[2], means[0] * means[2], means[0] * means[1]])
        return cls(
            site,
            channel,
            change=float(means[0]),
            locality=float(means[1]),
            kept=float(means[2]),
            merit=float(means.prod()),
            change_stderr=standard_error(values[:, 0]),
            locality_stderr=standard_error(values[:, 1]),
            kept_stderr=standard_error(values[:, 2]),
            merit_stderr=standard_error(values @ slopes),
            n_samples=len(values),
        )


def edit_suggestions(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    candidates: Sequence[tuple[int, int]],
    factor: float = FACTOR,
    batch_size: int = 64,
) -> list[Suggestion]:
    """Try channels one by one and sort them, best edit first; see :func:`edit_scores` for arguments and errors.

    Scores are biased upwards for the best of many; score these again by :func:`edit_scores` on held-out latents.
    """
    suggestions = edit_scores(generator, evaluator, z, class_id, candidates, factor, batch_size)
    return sorted(suggestions, key=lambda edit: (-edit.merit, edit.site, edit.channel))


@torch.inference_mode()
def edit_scores(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    channels: Sequence[tuple[int, int]],
    factor: float = FACTOR,
    batch_size: int = 64,
) -> list[Suggestion]:
    """Score the multiplication of each channel, in the order given.

    Args:
        generator: generator of the images.
        evaluator: classifier that scores them by the probability of their class.
        z: latents ``[n, z_dim]``; work that the channels of a site share is done once.
        class_id: class of the images.
        channels: (site, channel) of each edit.
        factor: factor that each channel is multiplied by.
        batch_size: images per pass.

    Raises:
        InputError: a site or channel does not exist or is given twice.
    """
    ordered = sorted(channels)
    for site, group in groupby(ordered, key=lambda pair: pair[0]):
        generator.require_channels(site, [channel for _, channel in group])
    parts = [
        _measure(generator, evaluator, rows, class_id, ordered, factor, batch_size) for rows in z.split(batch_size)
    ]
    values = dict(zip(ordered, torch.cat(parts, dim=1).numpy(), strict=True))
    return [Suggestion.of(*channel, values[channel]) for channel in channels]


def _measure(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    channels: Sequence[tuple[int, int]],
    factor: float,
    batch_size: int,
) -> Tensor:
    """Measure change, locality and class retention for ascending (site, channel): float64 ``[channels, n, 3]``."""
    class_ids = class_ids_of(class_id, z)
    before = generator(z, class_ids)
    log_probabilities = evaluator.log_probabilities(before)[:, class_id]
    scaled = [(Intervention(site, (channel,), Scale(factor)),) for site, channel in channels]
    parts = []
    for _, after in sweep(generator, z, class_ids, scaled, batch_size):
        log_ratios = evaluator.log_probabilities(after)[:, class_id].unflatten(0, (-1, len(z))) - log_probabilities
        pixels = (after.unflatten(0, (-1, len(z))) - before).abs().mean(dim=2).flatten(2) / 2  # [channels, n, P]
        pixels *= pixels.amax(dim=2, keepdim=True) >= LEAST_CHANGE
        measures = pixels.mean(dim=2), locality(pixels), log_ratios.clamp(max=0).exp()
        parts.append(torch.stack([values.double() for values in measures], dim=2).cpu())
    return torch.cat(parts)


def locality(pixels: Tensor) -> Tensor:
    """Return the locality ``[...]`` of changes ``[..., P]``; 0 if nothing changes."""
    squares = pixels.square().sum(dim=-1) * pixels.shape[-1]
    covered = pixels.sum(dim=-1).square() / squares.clamp(min=torch.finfo(pixels.dtype).tiny)
    return torch.where(squares > 0, 1 - covered, 0)
