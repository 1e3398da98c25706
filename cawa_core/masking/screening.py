"""Screening: what masking any channel at any site would do to first order, for the price of one backward pass.

Scaling a channel's features f by m changes the log-odds of the class at the rate ``Σ f · ∂ log-odds / ∂f`` (sum over
pixels) at m = 1, and a mask is m = 0. One pass back from the score gives the rates of all channels of all sites. The
probability is then read off the changed log-odds, so that an image whose class is certain stays certain: the rate of
the probability itself would not know that.
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
"""Values of all sites' features of a batch: the pass back needs them all, and a few tensors as large beside each."""


@dataclasses.dataclass(frozen=True)
class Screening:
    """First-order changes of one class.

    Attributes:
        log_odds: of the class for the unmasked images, ``log p / (1 - p)``: float64 ``[n]``.
        rates: per site, the fall of the log-odds when a channel is masked, to first order: float32 ``[n, C]``.
    """

    log_odds: Tensor
    rates: tuple[Tensor, ...]

    def log_scores(self, site: int, masks: list[Channels]) -> Tensor:
        """Log-probabilities of the class under masks of a site, to first order in the log-odds: ``[len(masks), n]``."""
        rates, on_device = self.rates[site].double(), ChannelMasks.of(masks, self.log_odds.device)
        each = rates[:, on_device.index] * on_device.present  # [n, m, widest]
        return functional.logsigmoid(self.log_odds - each.sum(dim=2).T)

    @property
    def unmasked(self) -> Tensor:
        """Log-probabilities of the class without a mask: ``[n]``."""
        return functional.logsigmoid(self.log_odds)


def screened(generator: Generator, evaluator: Evaluator, z: Tensor, class_id: int, batch_size: int) -> Screening:
    """Screen every channel of every site.

    Args:
        generator: makes the images.
        evaluator: scores them by the probability of their class.
        z: latents ``[n, z_dim]``.
        class_id: of the images and of the score.
        batch_size: latents to a pass forward and back, fewer where the features of all sites are large; changes the
            numbers by rounding alone.
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
    own = log_scores[:, class_id]
    others = log_scores.clone()
    others[:, class_id] = -torch.inf
    log_odds = own - others.logsumexp(dim=1)
    gradients = torch.autograd.grad(log_odds.sum(), features, allow_unused=True)
    rates = tuple(
        one.new_zeros(one.shape[:2], dtype=torch.float32)
        if gradient is None  # of a site that does not reach the image
        else (one.detach() * gradient).sum(dim=(2, 3), dtype=torch.float32)
        for one, gradient in zip(features, gradients, strict=True)
    )
    return Screening(log_odds.detach(), rates)
