"""Screening: first-order effects of masking any channel at any site, for the cost of one backward pass.

Scaling a channel's features f by m changes the log-odds of the class at the rate ``Σ f · ∂ log-odds / ∂f`` (sum over
pixels) at m = 1, and a mask is m = 0. One backward pass from the score gives the rates of all channels at all sites.
The probability then follows from the changed log-odds, so that an image whose class is certain stays certain, which the
rate of the probability itself would not ensure.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Channels, Generator, class_ids_of
from cawa_core.generators.channel_masks import ChannelMasks

KEPT_VALUES = 2**26
"""Maximum feature values of all sites per batch: the backward pass needs all, and a few tensors of their size."""


@dataclasses.dataclass(frozen=True)
class Screening:
    """First-order changes of the images of a class.

    Attributes:
        log_odds: log-odds ``log p / (1 - p)`` of the class for the unmasked images, float64 ``[n]``.
        rates: first-order decrease of the log-odds when a channel is masked, float32 ``[n, C]`` per site.
    """

    log_odds: Tensor
    rates: tuple[Tensor, ...]

    def log_scores(self, site: int, masks: list[Channels]) -> Tensor:
        """Return first-order log-probabilities of the class under masks of a site: ``[len(masks), n]``."""
        rates = self.rates[site].double()
        on_device = ChannelMasks.of(masks, self.log_odds.device)
        decreases = rates[:, on_device.index] * on_device.present  # [n, m, widest]
        return functional.logsigmoid(self.log_odds - decreases.sum(dim=2).T)

    @property
    def unmasked(self) -> Tensor:
        """Log-probabilities of the class without a mask: ``[n]``."""
        return functional.logsigmoid(self.log_odds)


def screened(generator: Generator, evaluator: Evaluator, z: Tensor, class_id: int, batch_size: int) -> Screening:
    """Screen every channel of every site.

    Args:
        generator: generator of the images.
        evaluator: classifier that scores them by the probability of their class.
        z: latents ``[n, z_dim]``.
        class_id: class of the images and of the score.
        batch_size: latents per forward and backward pass, fewer if the features of all sites are large; changes the
            numbers by rounding only.
    """
    values = sum(site.channels * site.resolution**2 for site in generator.sites)
    batch_size = max(1, min(batch_size, KEPT_VALUES // values))
    parts = [_screened_batch(generator, evaluator, rows, class_id) for rows in z.split(batch_size)]
    return Screening(
        torch.cat([part.log_odds for part in parts]),
        tuple(torch.cat(rates) for rates in zip(*(part.rates for part in parts), strict=True)),
    )


@torch.inference_mode(False)
@torch.enable_grad()
def _screened_batch(generator: Generator, evaluator: Evaluator, z: Tensor, class_id: int) -> Screening:
    features, images = generator.features_and_images(z.clone(), class_ids_of(class_id, z))
    log_scores = evaluator.log_probabilities(images)
    class_log_scores = log_scores[:, class_id]
    other_log_scores = log_scores.clone()
    other_log_scores[:, class_id] = -torch.inf
    log_odds = class_log_scores - other_log_scores.logsumexp(dim=1)
    gradients = torch.autograd.grad(log_odds.sum(), features, allow_unused=True)
    rates = tuple(
        site_features.new_zeros(site_features.shape[:2], dtype=torch.float32)
        if gradient is None  # the site does not reach the image
        else (site_features.detach() * gradient).sum(dim=(2, 3), dtype=torch.float32)
        for site_features, gradient in zip(features, gradients, strict=True)
    )
    return Screening(log_odds.detach(), rates)
