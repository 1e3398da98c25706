"""Maps from a generator's features to the category of each pixel: linear and nonlinear ones (Xu and Zheng 2021)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.numerics.arithmetic import full_precision
from cawa_core.semantics.features import PerSite, enlarged_sum

HIDDEN = 48
"""Channels of the hidden maps of :class:`ConvolutionalExtractor`, or those of a site if these are fewer."""


class Extractor(nn.Module, ABC):
    """Network that reads the category of each pixel off the features of some sites.

    Attributes:
        sites: sites that it reads, ascending.
        side: pixels per side of the images.
    """

    def __init__(self, sites: Sequence[int], side: int) -> None:
        super().__init__()
        self.sites = tuple(sites)
        self.side = side

    @abstractmethod
    def forward(self, features: PerSite) -> Tensor:
        """Return scores, of which the highest is that of the predicted category.

        Args:
            features: features of images ``[n, C, H, W]`` by site.

        Returns:
            float32 ``[n, categories, S, S]``.
        """


class ScaledExtractor(Extractor):
    """An extractor of features in units of their own size, so that one learning rate suits all channels.

    Args:
        sites: sites that it reads, ascending.
        side: pixels per side of the images.
        scales: size of each channel ``[C]``, by site.
    """

    def __init__(self, sites: Sequence[int], side: int, scales: PerSite) -> None:
        super().__init__(sites, side)
        for place, scale in enumerate(scales):
            self.register_buffer(f"scale{place}", scale.float()[:, None, None].clone())

    @property
    def channels(self) -> list[int]:
        """Channels of each site."""
        return [len(self.get_buffer(f"scale{place}")) for place in range(len(self.sites))]

    def forward(self, features: PerSite) -> Tensor:
        """Return scores ``[n, categories, S, S]``."""
        return self.scores([each / self.get_buffer(f"scale{place}") for place, each in enumerate(features)])

    @abstractmethod
    def scores(self, scaled: PerSite) -> Tensor:
        """Return scores ``[n, categories, S, S]`` of features in units of their own size."""


class LinearExtractor(Extractor):
    """A linear map per pixel: ``S = b + Σ_i up(T_i x_i)``, one matrix ``T_i [categories, C_i]``.

    Args:
        sites: sites that it reads, ascending.
        side: pixels per side of the images.
        maps: the matrices, by site.
        constant: ``b [categories]``; zero in the paper.
    """

    def __init__(self, sites: Sequence[int], side: int, maps: Sequence[Tensor], constant: Tensor) -> None:
        super().__init__(sites, side)
        self.maps = nn.ParameterList([nn.Parameter(each.detach().float().clone()) for each in maps])
        self.constant = nn.Parameter(constant.detach().float().clone())

    def forward(self, features: PerSite) -> Tensor:
        """Return scores ``[n, categories, S, S]``: categories are fewer than channels, so they are mapped first."""
        with full_precision(self.constant.device):  # solved in float64: rounding would move pixels to other labels
            mapped = [
                functional.conv2d(each.float(), matrix[:, :, None, None])
                for each, matrix in zip(features, self.maps, strict=True)
            ]
            return self.constant[:, None, None] + enlarged_sum(mapped, self.side)


class WeightedLinearExtractor(ScaledExtractor):
    """The linear extractor while it is trained (LSE): ``S = Σ_i w_i up(T_i x_i)``.

    Weights of sites are ``w = softplus(θ) / Σ softplus(θ)``.

    Args:
        sites: sites that it reads, ascending.
        side: pixels per side of the images.
        scales: size of each channel ``[C]``, by site.
        n_categories: number of categories.
        weighted: whether sites are weighted; few pictures are too few to learn that, and sites are summed.
    """

    def __init__(
        self, sites: Sequence[int], side: int, scales: PerSite, n_categories: int, *, weighted: bool = True
    ) -> None:
        super().__init__(sites, side, scales)
        self.maps = nn.ParameterList(
            [nn.Parameter(torch.randn(n_categories, number) / number**0.5) for number in self.channels]
        )
        self.site_logits = nn.Parameter(torch.zeros(len(sites)), requires_grad=weighted)
        self.weighted = weighted

    @property
    def site_weights(self) -> Tensor:
        """Weight of each site; they sum to 1, or are 1 each if they are not learnt."""
        if not self.weighted:
            return torch.ones_like(self.site_logits)
        positive = functional.softplus(self.site_logits)
        return positive / positive.sum()

    def scores(self, scaled: PerSite) -> Tensor:
        """Return scores ``[n, categories, S, S]`` of features in units of their own size."""
        mapped = [
            functional.conv2d(each, (weight * matrix)[:, :, None, None])
            for each, matrix, weight in zip(scaled, self.maps, self.site_weights, strict=True)
        ]
        return enlarged_sum(mapped, self.side)

    def folded(self) -> LinearExtractor:
        """Return the same map with weights of sites and sizes of channels inside the matrices."""
        maps = [
            weight * matrix / self.get_buffer(f"scale{place}").flatten()
            for place, (weight, matrix) in enumerate(zip(self.site_weights, self.maps, strict=True))
        ]
        return LinearExtractor(self.sites, self.side, maps, torch.zeros(len(self.maps[0]), device=maps[0].device))


class PerceptronExtractor(ScaledExtractor):
    """NSE-1: a perceptron with two hidden layers at every pixel of every site, enlarged and added.

    Hidden layers have ``(C + K) // 2`` units, for C channels and K categories.

    Args:
        sites: sites that it reads, ascending.
        side: pixels per side of the images.
        scales: size of each channel ``[C]``, by site.
        n_categories: number of categories.
    """

    def __init__(self, sites: Sequence[int], side: int, scales: PerSite, n_categories: int) -> None:
        super().__init__(sites, side, scales)
        self.by_site = nn.ModuleList()
        for number in self.channels:
            hidden = (number + n_categories) // 2
            layers = nn.Conv2d(number, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU()
            self.by_site.append(nn.Sequential(*layers, nn.Conv2d(hidden, n_categories, 1)))

    def scores(self, scaled: PerSite) -> Tensor:
        """Return scores ``[n, categories, S, S]`` of features in units of their own size."""
        return enlarged_sum([layer(each) for layer, each in zip(self.by_site, scaled, strict=True)], self.side)


class ConvolutionalExtractor(ScaledExtractor):
    """NSE-2: hidden maps that grow with the sites, ``h_i = R_i(up h_{i-1}) + E_i(x_i)``, both 3 x 3 and ReLU.

    The paper does not say how wide hidden maps are; here they have the site's channels, at most :data:`HIDDEN`.

    Args:
        sites: sites that it reads, ascending.
        side: pixels per side of the images.
        scales: size of each channel ``[C]``, by site.
        n_categories: number of categories.
    """

    def __init__(self, sites: Sequence[int], side: int, scales: PerSite, n_categories: int) -> None:
        super().__init__(sites, side, scales)
        widths = [min(HIDDEN, number) for number in self.channels]
        self.embed = nn.ModuleList(
            nn.Conv2d(number, width, 3, padding=1) for number, width in zip(self.channels, widths, strict=True)
        )
        self.refine = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
        self.classify = nn.Conv2d(widths[-1], n_categories, 3, padding=1)

    def scores(self, scaled: PerSite) -> Tensor:
        """Return scores ``[n, categories, S, S]`` of features in units of their own size."""
        hidden = functional.relu(self.embed[0](scaled[0]))
        for place, each in enumerate(scaled[1:]):
            hidden = functional.interpolate(hidden, each.shape[2:], mode="bilinear", align_corners=False)
            hidden = functional.relu(self.refine[place](hidden)) + functional.relu(self.embed[place + 1](each))
        return enlarged_sum([self.classify(hidden)], self.side)
