"""Images edited by painting labels: the pass is changed until the painted labels are read off its features.

After Xu and Zheng (2021), section 5: the wanted map is that of the image with the strokes painted over it, and what is
optimised are the latents of every site, where a generator takes the latent code at each of them, or else the latent
code and the features of one site. Pixels outside the strokes are also held to the image, which the paper does not do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from cawa_core.generators.base import Generator
from cawa_core.interventions import Change, Conditioning, Intervention, Shift, run_with_features
from cawa_core.semantics.extractors import Extractor
from cawa_core.semantics.layouts import ANYTHING, NEAR_START, for_gradients, layout_loss, minimised

STEPS = 50
LEARNING_RATE = 0.03
"""Step of Adam, in units of latents, or of the size of a channel's features."""
OUTSIDE = 1.0
"""Weight of the labels outside the strokes, beside that of the strokes, which is 1."""
SAME_PIXELS = 10.0
"""Weight of the squared change of pixels outside the strokes, for values in [-1, 1]."""
COARSE = 4
"""Pixels per side of the images for one of the site whose features are changed, at the least."""


@dataclasses.dataclass(frozen=True)
class Repainted:
    """Changes of a pass that paint strokes into its images.

    Attributes:
        z: latents that the pass begins with ``[n, z_dim]``.
        changes: changes on the way, for :func:`~cawa_core.interventions.run`.
    """

    z: Tensor
    changes: tuple[Change, ...]


@dataclasses.dataclass(frozen=True)
class _Handle:
    """What is optimised: values ``[n, ...]``, and how a pass takes them."""

    start: Tensor
    repainted: Callable[[Tensor], Repainted]


def repainted(
    generator: Generator,
    extractor: Extractor,
    strokes: Tensor,
    class_ids: Tensor,
    z: Tensor,
    *,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
) -> Repainted:
    """Change the passes of images until they show what is painted, and nothing else changes.

    Args:
        generator: generator of the images, with gradients.
        extractor: what reads the categories.
        strokes: painted categories, int64 ``[n, S, S]``; ``ANYTHING`` (-1) outside the strokes.
        class_ids: classes ``[n]``.
        z: latents of the images ``[n, z_dim]``.
        steps: number of steps.
        learning_rate: step of Adam.

    Returns:
        Changes for all images together; those of an image depend on its own row only.
    """
    strokes, class_ids, z = for_gradients(strokes, class_ids, z)
    with torch.inference_mode(False), torch.no_grad():
        features, images = run_with_features(generator, z, class_ids, extractor.sites)
        around = torch.where(strokes == ANYTHING, extractor(features).argmax(dim=1), ANYTHING)
        outside = (strokes == ANYTHING)[:, None].float()
    pixels = outside.sum(dim=(1, 2, 3)).clamp(min=1) * images.shape[1]
    handle = _site_latents(generator, z) if generator.mixes_classes else _features(generator, class_ids, z)

    def loss(values: Tensor) -> Tensor:
        candidate = handle.repainted(values)
        features, changed = run_with_features(generator, candidate.z, class_ids, extractor.sites, candidate.changes)
        scores = extractor(features)
        labels = layout_loss(scores, strokes) + OUTSIDE * layout_loss(scores, around)
        moved = ((changed - images).square() * outside).sum(dim=(1, 2, 3)) / pixels
        near = (values - handle.start).square().flatten(1).sum(dim=1)
        return labels + SAME_PIXELS * moved + NEAR_START * near

    return handle.repainted(minimised(loss, handle.start, steps, learning_rate))


def _site_latents(generator: Generator, z: Tensor) -> _Handle:
    """Optimise the latents of every site: ``[n, sites, z_dim]``."""
    n_sites = len(generator.sites)

    def repainted(values: Tensor) -> Repainted:
        later = (Conditioning(site, z=values[:, site + 1]) for site in range(n_sites - 1))
        return Repainted(values[:, 0], tuple(later))

    return _Handle(z[:, None].repeat(1, n_sites, 1), repainted)


def _features(generator: Generator, class_ids: Tensor, z: Tensor) -> _Handle:
    """Optimise the latents and the features of a coarse site, in units of the size of each channel in the image."""
    coarse = [site for site in generator.sites if site.resolution * COARSE <= generator.image_size]
    site = (coarse or generator.sites[:1])[-1]
    with torch.inference_mode(False), torch.no_grad():
        features = generator.run_to(site.index, z, class_ids).features
    size = features.square().mean(dim=(2, 3), keepdim=True).sqrt()
    z_dim = z.shape[1]

    def repainted(values: Tensor) -> Repainted:
        shift = size * values[:, z_dim:].reshape(features.shape)
        return Repainted(values[:, :z_dim], (Intervention(site.index, tuple(range(site.channels)), Shift(shift)),))

    return _Handle(torch.cat([z, torch.zeros_like(features).flatten(1)], dim=1), repainted)
