"""A generator whose latent dimensions do known things to its images, and concepts that some of them control."""

import torch
from scipy.special import ndtri

from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import AffineMap, Generator, Modulation, Site, SiteState
from cawa_core.generators.class_tables import ClassTable

SIDE, CORNER = 16, 4
"""Side of the images, and of the square in their corner."""
LATENT_WEIGHTS = torch.zeros(4, 8)
"""Weights of the latent dimensions in the offset of each channel."""
LATENT_WEIGHTS[0, [1, 4]] = torch.tensor([0.3, -0.2])
LATENT_WEIGHTS[1, 6] = 0.4
LATENT_WEIGHTS[2, [0, 2, 3]] = 0.5
EMBEDDING_WEIGHTS = torch.zeros(4, 4)
EMBEDDING_WEIGHTS[0, 2] = 0.3
GAIN_WEIGHTS = torch.zeros(4, 8)
GAIN_WEIGHTS[3, 5] = 0.3
CONTROLS = {"background": {1: 1, 4: -1}, "corner": {6: 1}, "chaos": {}}
"""Latent dimensions that control each concept, with their signs."""
EMBEDDINGS = torch.tensor(
    [[1.0, 0, 1, 0], [0, 1.0, -1, 0], [1, 1, 0.5, 1], [0, 0, -0.5, 1], [1, 0, 0, 1], [0, 1, 0, 0]]
)


class PlantedGenerator(Generator):
    """Background and corner are as bright as the mean features of the first two channels; the others are not drawn."""

    name = "planted-dimensions"
    digest = "planted dimensions"
    sites = (Site(0, "units", 4, SIDE),)
    z_dim, embed_dim = 8, 4
    image_size, image_channels = SIDE, 1
    classes = ClassTable(tuple("abcdef"))

    def __init__(self):
        super().__init__()
        quantiles = ndtri((torch.arange(SIDE**2) + 0.5).numpy() / SIDE**2)
        self.input = torch.nn.Parameter(torch.from_numpy(quantiles).float().reshape(SIDE, SIDE), requires_grad=False)

    @classmethod
    def of(cls, request):  # noqa: ARG003
        return cls()

    def class_embedding(self, class_ids):
        return EMBEDDINGS[class_ids]

    def modulation(self, site):  # noqa: ARG002
        gain = AffineMap(torch.ones(4), torch.zeros(4, 4), GAIN_WEIGHTS)
        return Modulation(gain, AffineMap(torch.full((4,), 0.2), EMBEDDING_WEIGHTS, LATENT_WEIGHTS))

    def begin(self, z, embedding):
        modulation = self.modulation(0)
        gain, offset = (
            part.class_part(embedding) + part.latent_part(z) for part in (modulation.gain, modulation.offset)
        )
        return SiteState(0, (gain[:, :, None, None] * self.input + offset[:, :, None, None]).relu())

    def next_site(self, state):  # noqa: ARG002
        raise AssertionError("there is one site")

    def finish(self, state):
        background, corner = state.features[:, :2].mean(dim=(2, 3)).T
        images = background[:, None, None, None].expand(-1, 1, SIDE, SIDE).clone()
        in_corner = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        in_corner[:CORNER, :CORNER] = True
        return torch.tanh(torch.where(in_corner, corner[:, None, None, None], images) - 0.7)


class BlindEvaluator(Evaluator):
    """Takes bright images for the last class."""

    name = "blind"
    digest = "blind"
    protocol = "mean of the pixels"
    n_classes = 6

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0))

    def features(self, images):
        return images.mean(dim=(1, 2, 3))[:, None]

    def logits_of_features(self, features):
        return features * self.weight


def background(images):
    return images[:, 0, CORNER:].mean(dim=(1, 2))


def corner(images):
    return images[:, 0, :CORNER, :CORNER].mean(dim=(1, 2))


def chaos(images):
    """Depends on every pixel, in no direction."""
    return torch.frac(images.double().mean(dim=(1, 2, 3)) * 1e5).abs().float()


def constant(images):
    return torch.ones(len(images))


def wrong(images):
    return torch.ones(len(images), 3)


def both(images):
    return torch.stack([background(images), corner(images)], dim=1)


both.concepts = ("left", "right")
