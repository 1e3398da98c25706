"""Linear extractors in closed form, from sums over images: ridge regression and the linear discriminant.

Ridge regression predicts the indicator of each category with the least squared error. Categories between others, or
rare ones, may then be the largest nowhere (Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*,
section 4.2). The linear discriminant of the same sums (section 4.3) does not have this fault: it takes the pixels of
each category as normal, with the same covariance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.semantics.extractors import LinearExtractor
from cawa_core.semantics.features import PerSite
from cawa_core.semantics.sums import FeatureSums

PENALTY = 1e-4
"""Default weight of squared weights, over the mean squared channel, in units of the channels' own sizes."""
FEW_PENALTY = 3e-2
"""The same for at most a few dozen images, which tell less about more channels."""
RARE = -1e4
"""Score of a category that no pixel of the sums shows."""


@dataclasses.dataclass(frozen=True)
class NormalEquations:
    """Sums over images in floating point, without those of some images.

    Attributes:
        gram: products of scaled features, the constant last, float64 ``[D, D]``.
        products: products with categories, float64 ``[D, categories]``.
        ridge: what is added to the diagonal of the channels.
    """

    gram: Tensor
    products: Tensor
    ridge: float

    @classmethod
    def of(cls, sums: FeatureSums, penalty: float = PENALTY) -> NormalEquations:
        """Return the equations of some images.

        Args:
            sums: sums over the images, at least one.
            penalty: weight of squared weights, over the mean squared channel.

        Raises:
            InputError: there is no image, or the penalty is not above zero.
        """
        if not sums.n_images:
            raise InputError("sums must have at least one image; they have none")
        if not penalty > 0:
            raise InputError(f"penalty must be above 0, since channels may depend on each other; got {penalty}")
        gram, products = sums.equations()
        return cls(gram, products, penalty * float(gram.diagonal()[:-1].mean()))

    def without(self, sums: FeatureSums) -> NormalEquations:
        """Return the equations without some of the images, and with the same penalty."""
        gram, products = sums.equations()
        return dataclasses.replace(self, gram=self.gram - gram, products=self.products - products)

    def at(self, rows: Tensor) -> NormalEquations:
        """Return the equations of some channels ``[n]`` and the constant, with the same penalty."""
        chosen = torch.cat([rows, rows.new_tensor([len(self.gram) - 1])])
        return dataclasses.replace(self, gram=self.gram[chosen][:, chosen], products=self.products[chosen])


def ridge_weights(equations: NormalEquations) -> Tensor:
    """Return the weights of ridge regression on the indicators of categories: float64 ``[D, categories]``.

    The constant is not penalised.
    """
    penalties = torch.full_like(equations.gram.diagonal(), equations.ridge)
    penalties[-1] = 0
    factor = torch.linalg.cholesky(equations.gram + torch.diag(penalties))
    return torch.cholesky_solve(equations.products, factor)


def discriminant_weights(equations: NormalEquations) -> Tensor:
    """Return the weights of the linear discriminant of categories: float64 ``[D, categories]``."""
    pixels = equations.products[-1]
    present = pixels > 0
    means = equations.products[:-1, present] / pixels[present]
    within = equations.gram[:-1, :-1] - (means * pixels[present]) @ means.T
    within.diagonal().add_(equations.ridge)
    weights = torch.zeros_like(equations.products)
    total = equations.gram[-1, -1]
    slopes = torch.cholesky_solve(means * total, torch.linalg.cholesky(within))
    weights[:-1, present] = slopes
    weights[-1, present] = torch.log(pixels[present] / total) - 0.5 * (means * slopes).sum(dim=0)
    weights[-1, ~present] = RARE
    return weights


CLOSED_FORMS: dict[str, Callable[[NormalEquations], Tensor]] = {"lda": discriminant_weights, "ridge": ridge_weights}
"""Closed forms by name."""


def linear_extractor(weights: Tensor, scales: PerSite, sites: Sequence[int], side: int) -> LinearExtractor:
    """Return the extractor with the given weights of scaled features.

    Args:
        weights: ``[D, categories]``, the constant last.
        scales: sizes that features are divided by, ``[C]`` by site.
        sites: indices of the sites.
        side: pixels per side of the images.
    """
    maps = []
    first = 0
    for scale in scales:
        maps.append((weights[first : first + len(scale)] / scale[:, None]).T)
        first += len(scale)
    return LinearExtractor(sites, side, maps, weights[-1])
