"""The exact engine: the same latents with and without each mask, the unmasked prefix computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Generator, SiteState
from cawa_core.masking.groups import Channels

SiteMasks = Mapping[int, Channels]
"""Site => channels set to zero there."""


def masked_state(state: SiteState, channels: Channels) -> SiteState:
    """The state with some channels at its site set to zero (after ReLU; zero before gives the same)."""
    features = state.features.clone()
    features[:, list(channels)] = 0
    return state.with_features(features)


@torch.inference_mode()
def run_masked(generator: Generator, z: Tensor, class_id: int, masks: SiteMasks) -> Tensor:
    """Images of one class ``[n, C, H, W]`` with channels masked at any number of sites."""
    state = generator.run_to(0, z, class_ids_of(class_id, z))
    for site in sorted(masks):
        state = masked_state(generator.advance(state, site), masks[site])
    return generator.run_from(state.site, state)


def class_ids_of(class_id: int, z: Tensor) -> Tensor:
    """The same class for every latent: int64 ``[n]``."""
    return torch.full((len(z),), class_id, dtype=torch.int64, device=z.device)


@torch.inference_mode()
def log_scores(evaluator: Evaluator, images: Tensor, class_id: int) -> Tensor:
    """Log-probability of the class for each image: float64 ``[n]``."""
    return evaluator.log_probabilities(images)[:, class_id]


@torch.inference_mode()
def site_log_scores(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    site: int,
    masks: Sequence[Channels],
    batch_size: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probabilities of the class without and with each mask of one site.

    Args:
        z: latents ``[n, z_dim]``.
        masks: channels set to zero together, one entry a mask; an empty one masks nothing.
        batch_size: latents to a forward pass; changes the numbers by rounding alone.

    Returns:
        Unmasked ``[n]`` and masked ``[len(masks), n]``, float64.
    """
    unmasked, masked = [], []
    for rows in z.split(batch_size):
        state = generator.run_to(site, rows, class_ids_of(class_id, rows))
        unmasked.append(log_scores(evaluator, generator.run_from(site, state), class_id))
        masked.append(torch.stack([_masked_log_scores(generator, evaluator, state, mask, class_id) for mask in masks]))
    return torch.cat(unmasked).cpu().numpy(), torch.cat(masked, dim=1).cpu().numpy()


def _masked_log_scores(
    generator: Generator, evaluator: Evaluator, state: SiteState, mask: Channels, class_id: int
) -> Tensor:
    images = generator.run_from(state.site, masked_state(state, mask))
    return log_scores(evaluator, images, class_id)


def everywhere_log_scores(
    generator: Generator,
    evaluator: Evaluator,
    z: Tensor,
    class_id: int,
    masks: Sequence[SiteMasks],
    batch_size: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Like :func:`site_log_scores` for masks over several sites at once."""

    def scores(one: SiteMasks) -> NDArray[np.float64]:
        parts = [
            log_scores(evaluator, run_masked(generator, rows, class_id, one), class_id) for rows in z.split(batch_size)
        ]
        return torch.cat(parts).cpu().numpy()

    return scores({}), np.stack([scores(one) for one in masks])
