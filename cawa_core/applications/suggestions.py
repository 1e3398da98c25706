"""Which channels make good edits of a class: they change its pictures, in one place, and leave it that class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cawa_core.applications.editing import check_channels
from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Generator
from cawa_core.masking.engine import class_ids_of

FACTOR = 3.0
"""By which suggestions multiply a channel (paper, Fig. 5b)."""


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What multiplying one channel does to pictures of a class, in the mean over latents.

    Attributes:
        site, channel: which.
        change: mean absolute change of a pixel, as a share of the range from black to white.
        locality: 1 minus the share of the picture that the change covers, (Σ|d|)² / (P Σd²) over its P pixels: 0 where
            all pixels change alike, near 1 where few change.
        kept: probability of the class after over before, at most 1.
    """

    site: int
    channel: int
    change: float
    locality: float
    kept: float

    @property
    def merit(self) -> float:
        """What suggestions are ranked by: the product of all three."""
        return self.change * self.locality * self.kept


@torch.inference_mode()
def edit_suggestions(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    candidates: Sequence[tuple[int, int]],
    factor: float = FACTOR,
    batch_size: int = 64,
) -> list[Suggestion]:
    """Try channels one by one, the best edits first.

    Args:
        z: latents ``[n, z_dim]``; what the channels of a site share is computed once.
        class_id: of the pictures.
        candidates: (site, channel) of each channel to try.
        factor: what each is multiplied by.
        batch_size: pictures to a pass.

    Raises:
        InputError: a site or channel that the generator does not have.
    """
    by_site: dict[int, list[int]] = {}
    for site, channel in sorted(candidates):
        by_site.setdefault(site, []).append(channel)
    for site, channels in by_site.items():
        check_channels(generator, site, channels)
    parts = [_tried(generator, evaluator, rows, class_id, by_site, factor, batch_size) for rows in z.split(batch_size)]
    means = torch.cat(parts, dim=1).mean(dim=1).tolist()
    found = [Suggestion(*of, *values) for of, values in zip(sorted(candidates), means, strict=True)]
    return sorted(found, key=lambda one: (-one.merit, one.site, one.channel))


def _tried(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    by_site: Mapping[int, Sequence[int]],
    factor: float,
    batch_size: int,
) -> Tensor:
    """Change, locality and kept of each channel in order, and each latent: float64 ``[channels, n, 3]`` on the CPU."""
    class_ids = class_ids_of(class_id, z)
    before = generator(z, class_ids)
    likely = evaluator.log_probabilities(before)[:, class_id]
    at_once = max(1, batch_size // len(z))
    state, found = generator.run_to(0, z, class_ids), []
    for site, channels in by_site.items():
        state = generator.advance(state, site)
        images = generator.under_masks(state, factor)
        for start in range(0, len(channels), at_once):
            after = images([(channel,) for channel in channels[start : start + at_once]])
            kept = evaluator.log_probabilities(after)[:, class_id].unflatten(0, (-1, len(z))) - likely
            pixels = (after.unflatten(0, (-1, len(z))) - before).abs().mean(dim=2).flatten(2) / 2
            measures = pixels.mean(dim=2), _locality(pixels), kept.clamp(max=0).exp()
            found.append(torch.stack([one.double() for one in measures], dim=2).cpu())
    return torch.cat(found)


def _locality(pixels: Tensor) -> Tensor:
    """Of changes ``[..., P]``; 0 where nothing changes."""
    squares = pixels.square().sum(dim=-1) * pixels.shape[-1]
    covered = pixels.sum(dim=-1).square() / squares.clamp(min=torch.finfo(pixels.dtype).tiny)
    return torch.where(squares > 0, 1 - covered, 0)
