"""Which channels make good edits of a class: they change its pictures, in one place, and leave it that class."""

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
"""By which suggestions multiply a channel (paper, Fig. 5b)."""
LEAST_CHANGE = 1e-5
"""Where no pixel changes by this share of black to white, nothing does: a channel that a latent leaves silent changes
no picture, but that comes another way than the unchanged one, and the rounding alone would have a locality."""


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What multiplying one channel does to pictures of a class, in the mean over latents, with standard errors.

    Attributes:
        site, channel: which.
        change: mean absolute change of a pixel, as a share of the range from black to white.
        locality: 1 minus the share of the picture that the change covers, (Σ|d|)² / (P Σd²) over its P pixels: 0 where
            all pixels change alike, near 1 where few change.
        kept: probability of the class after over before, at most 1.
        merit: what suggestions are ranked by: the product of all three.
        change_stderr, locality_stderr, kept_stderr, merit_stderr: over latents, the product's to first order; NaN of
            one latent alone.
        n_samples: latents.
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
        """From change, locality and kept of each latent ``[n, 3]``."""
        means = values.mean(axis=0)
        slopes = np.array([means[1] * means[2], means[0] * means[2], means[0] * means[1]])
        errors = (standard_error(one) for one in (*values.T, values @ slopes))
        names = ("change", "locality", "kept", "merit")
        found = dict(zip(names, map(float, (*means, means.prod())), strict=True))
        found |= {f"{name}_stderr": error for name, error in zip(names, errors, strict=True)}
        return cls(site, channel, n_samples=len(values), **found)


def edit_suggestions(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    candidates: Sequence[tuple[int, int]],
    factor: float = FACTOR,
    batch_size: int = 64,
) -> list[Suggestion]:
    """Try channels one by one, the best edits first: arguments and errors as of :func:`edit_scores`.

    The best of many are flattered by the latents that chose them; score them by :func:`edit_scores` on others.
    """
    found = edit_scores(generator, evaluator, z, class_id, candidates, factor, batch_size)
    return sorted(found, key=lambda one: (-one.merit, one.site, one.channel))


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
    """What multiplying channels does, one by one, in the order given.

    Args:
        z: latents ``[n, z_dim]``; what the channels of a site share is computed once.
        class_id: of the pictures.
        channels: (site, channel) of each.
        factor: what each is multiplied by.
        batch_size: pictures to a pass.

    Raises:
        InputError: a site or channel that the generator does not have, or one given twice.
    """
    ordered = sorted(channels)
    for site, group in groupby(ordered, key=lambda pair: pair[0]):
        generator.require_channels(site, [channel for _, channel in group])
    parts = [_tried(generator, evaluator, rows, class_id, ordered, factor, batch_size) for rows in z.split(batch_size)]
    values = dict(zip(ordered, torch.cat(parts, dim=1).numpy(), strict=True))
    return [Suggestion.of(*one, values[one]) for one in channels]


def _tried(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    channels: Sequence[tuple[int, int]],
    factor: float,
    batch_size: int,
) -> Tensor:
    """Change, locality and kept of each (site, channel), ascending, and each latent: float64 ``[channels, n, 3]``."""
    class_ids = class_ids_of(class_id, z)
    before = generator(z, class_ids)
    likely = evaluator.log_probabilities(before)[:, class_id]
    scaled = [(Intervention(site, (channel,), Scale(factor)),) for site, channel in channels]
    found = []
    for _, after in sweep(generator, z, class_ids, scaled, batch_size):
        kept = evaluator.log_probabilities(after)[:, class_id].unflatten(0, (-1, len(z))) - likely
        pixels = (after.unflatten(0, (-1, len(z))) - before).abs().mean(dim=2).flatten(2) / 2  # [channels, n, P]
        pixels *= pixels.amax(dim=2, keepdim=True) >= LEAST_CHANGE
        measures = pixels.mean(dim=2), _locality(pixels), kept.clamp(max=0).exp()
        found.append(torch.stack([one.double() for one in measures], dim=2).cpu())
    return torch.cat(found)


def _locality(pixels: Tensor) -> Tensor:
    """Of changes ``[..., P]``; 0 where nothing changes."""
    squares = pixels.square().sum(dim=-1) * pixels.shape[-1]
    covered = pixels.sum(dim=-1).square() / squares.clamp(min=torch.finfo(pixels.dtype).tiny)
    return torch.where(squares > 0, 1 - covered, 0)
