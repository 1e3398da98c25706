"""A generator whose units draw a square in known ways, and a segmenter that sees the square."""

import torch

from cawa_core.generators.base import AffineMap, Generator, Modulation, Site, SiteState
from cawa_core.generators.class_tables import ClassTable
from cawa_core.segmenters.base import Segmenter

SIDE, EDGE, SHIFT = 16, 6, 2
"""Side of the images, edge of the square, and rows by which the shifted unit is off."""
SQUARE, SHIFTED, NOISY, DEAD, CONSTANT = range(5)
NOISE = 3
"""Pixels of the noisy unit outside the square, and of the square where it is off."""


def squares(z):
    """The square of each latent, whose corner the first two coordinates choose: bool ``[n, SIDE, SIDE]``."""
    corner = (z[:, :2].sigmoid() * (SIDE - EDGE - SHIFT + 1)).long()
    rows = torch.arange(SIDE)
    inside = (rows >= corner[..., None]) & (rows < corner[..., None] + EDGE)
    return inside[:, 0, :, None] & inside[:, 1, None, :]


def units(z):
    """Features of the five units, ``[n, 5, SIDE, SIDE]``."""
    square = squares(z)
    noisy = square.clone()
    for picture, mask in zip(noisy, square, strict=True):
        picture.view(-1)[mask.flatten().nonzero()[:NOISE, 0]] = False
        picture.view(-1)[(~mask).flatten().nonzero()[:NOISE, 0]] = True
    features = [
        2.0 * square,
        1.5 * torch.roll(square, SHIFT, dims=1),
        3.0 * noisy,
        torch.zeros(square.shape),
        torch.ones(square.shape),
    ]
    return torch.stack(features, dim=1)


class PlantedGenerator(Generator):
    """Two classes of the same pictures: the square alone is drawn, white on black."""

    name = "planted-units"
    digest = "planted"
    sites = (Site(0, "units", 5, SIDE),)
    z_dim, embed_dim = 4, 2
    image_size, image_channels = SIDE, 1
    classes = ClassTable(("left", "right"))

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def class_embedding(self, class_ids):
        return torch.nn.functional.one_hot(class_ids, 2).float()

    def modulation(self, site):  # noqa: ARG002
        ones = AffineMap(torch.ones(5), torch.zeros(5, 2), torch.zeros(5, 4))
        return Modulation(ones, ones)

    def begin(self, z, embedding):  # noqa: ARG002
        return SiteState(0, units(z))

    def next_site(self, state):  # noqa: ARG002
        raise AssertionError("there is one site")

    def finish(self, state):
        return state.features[:, SQUARE : SQUARE + 1].clamp(0, 2) - 1


class SquareSegmenter(Segmenter):
    """Labels bright pixels as the square."""

    name = "squares"
    digest = "squares"
    protocol = "bright pixels"
    concepts = ("square", "nothing here")

    def __init__(self):
        super().__init__()

    def segment(self, images):
        return torch.where(images[:, 0] > 0, 0, -1)


class CornerGenerator(PlantedGenerator):
    """The same squares; units on in single pixels, so that 0.5% of the pixels are more than theirs."""

    name = "planted-corners"

    def begin(self, z, embedding):  # noqa: ARG002
        square, corner = squares(z), corners(z)
        features = [2.0 * corner, 1.5 * torch.roll(corner, SHIFT, dims=1), 3.0 * square, 0.0 * square, 0 * square + 1.0]
        return SiteState(0, torch.stack(features, dim=1))


def corners(z):
    """The upper left pixel of the square of each latent: bool ``[n, SIDE, SIDE]``."""
    square = squares(z)
    return square & ~torch.roll(square, 1, dims=1) & ~torch.roll(square, 1, dims=2)
