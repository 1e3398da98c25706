"""A generator of which one unit draws the square, and another only goes with it; a segmenter with probabilities."""

import torch

from cawa_core.generators.base import AffineMap, Modulation, Site, SiteState
from tests.planted_units import SIDE, PlantedGenerator, SquareSegmenter, squares

WITNESS, DRAWS, ELSEWHERE, DEAD = range(4)
"""The witness is on where the square is, like the unit that draws it, and comes first; nothing reads it."""


class CausalGenerator(PlantedGenerator):
    """Two classes of the same pictures: white where the unit that draws is above 1, else black."""

    name = "planted-effects"
    digest = "planted-effects"
    sites = (Site(0, "units", 4, SIDE),)

    def modulation(self, site):  # noqa: ARG002
        ones = AffineMap(torch.ones(4), torch.zeros(4, 2), torch.zeros(4, 4))
        return Modulation(ones, ones)

    def begin(self, z, embedding):  # noqa: ARG002
        square = squares(z).float()
        return SiteState(0, torch.stack([square, 2 * square, 1 - square, 0 * square], dim=1))

    def finish(self, state):
        return state.features[:, DRAWS : DRAWS + 1].clamp(0, 2) - 1


class SoftSquareSegmenter(SquareSegmenter):
    """Labels bright pixels as the square, the more surely the brighter they are."""

    name = "soft-squares"
    digest = "soft-squares"

    def probabilities(self, images):
        bright = (4 * images[:, 0]).sigmoid()
        return torch.stack([bright, torch.zeros_like(bright)], dim=1)
