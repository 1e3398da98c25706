"""Images edited by painting labels: the pass is changed until the painted labels are read off its features.

After Xu and Zheng (2021), section 5: the wanted map is that of the image with the strokes painted over it. What is
optimised are the latent code and the features of one site, or the latents of every site, as in the paper, where a
generator takes the latent code at each of them. Pixels outside the strokes are also held to the image, which the paper
does not do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.interventions import Change, Conditioning, Intervention, Shift, run_with_features
from cawa_core.semantics.extractors import Extractor
from cawa_core.semantics.layouts import ANYTHING, NEAR_START, for_gradients, layout_loss, minimised

FEATURES, SITE_LATENTS = WAYS = ("features", "site_latents")
"""Ways to change a pass: by the latent code and the features of a site, or by the latents of every site."""
STEPS = 50
LEARNING_RATE = 0.03
"""Step of Adam, in units of latents, or of the size of a channel's features."""
OUTSIDE = 1.0
"""Weight of the labels outside the strokes, beside that of the strokes, which is 1."""
SAME_PIXELS = 10.0
"""Weight of the squared change of pixels outside the strokes, for values in [-1, 1]."""
NEAR_FEATURES = 1e-2
"""Weight of the squared changes, where features are changed; for latents of sites it is that of layouts."""
COARSE = 2
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
class StrokeChanges:
    """Counts and changes of pixels by which an edit is judged.

    Attributes:
        pixels: pixels of the strokes.
        before, after: of these, pixels with the painted label before and after the edit.
        outside_pixels: pixels outside the strokes.
        outside_kept: of these, pixels whose label stays the same.
        change, outside_change: mean absolute change of a pixel in the strokes and outside, as a share of the range from
            black to white; NaN without pixels.
    """

    pixels: int
    before: int
    after: int
    outside_pixels: int
    outside_kept: int
    change: float
    outside_change: float


def stroke_changes(strokes: Tensor, images: tuple[Tensor, Tensor], maps: tuple[Tensor, Tensor]) -> list[StrokeChanges]:
    """Measure what edits did, image by image.

    Args:
        strokes: painted categories, int64 ``[n, S, S]``; ``ANYTHING`` (-1) outside the strokes.
        images: images before and after, ``[n, C, S, S]`` in [-1, 1].
        maps: categories of their pixels before and after, int64 ``[n, S, S]``.
    """
    moved = (images[1] - images[0]).abs().mean(dim=1) / 2
    changes = []
    for stroke, before, after, change in zip(strokes, *maps, moved, strict=True):
        inside = stroke != ANYTHING
        changes.append(
            StrokeChanges(
                pixels=int(inside.sum()),
                before=int((before == stroke)[inside].sum()),
                after=int((after == stroke)[inside].sum()),
                outside_pixels=int((~inside).sum()),
                outside_kept=int((before == after)[~inside].sum()),
                change=float(change[inside].mean()),
                outside_change=float(change[~inside].mean()),
            )
        )
    return changes


@dataclasses.dataclass(frozen=True)
class _Handle:
    """Values ``[n, ...]`` that are optimised, the weight of their squared changes, and how a pass takes them."""

    start: Tensor
    near: float
    repainted: Callable[[Tensor], Repainted]


def repainted(
    generator: Generator,
    extractor: Extractor,
    strokes: Tensor,
    class_ids: Tensor,
    z: Tensor,
    *,
    way: str = FEATURES,
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
        way: what is optimised: ``features`` or ``site_latents``.
        steps: number of steps.
        learning_rate: step of Adam.

    Returns:
        Changes for all images together; those of an image depend on its own row only.

    Raises:
        InputError: the generator takes no latents at single sites, and the way needs them.
    """
    require_way(generator, way)
    strokes, class_ids, z = for_gradients(strokes, class_ids, z)
    with torch.inference_mode(False), torch.no_grad():
        features, images = run_with_features(generator, z, class_ids, extractor.sites)
        around = torch.where(strokes == ANYTHING, extractor(features).argmax(dim=1), ANYTHING)
        outside = (strokes == ANYTHING)[:, None].float()
    pixels = outside.sum(dim=(1, 2, 3)).clamp(min=1) * images.shape[1]
    handle = _site_latents(generator, z) if way == SITE_LATENTS else _features(generator, class_ids, z)

    def loss(values: Tensor) -> Tensor:
        candidate = handle.repainted(values)
        features, changed = run_with_features(generator, candidate.z, class_ids, extractor.sites, candidate.changes)
        scores = extractor(features)
        labels = layout_loss(scores, strokes) + OUTSIDE * layout_loss(scores, around)
        moved = ((changed - images).square() * outside).sum(dim=(1, 2, 3)) / pixels
        near = (values - handle.start).square().flatten(1).sum(dim=1)
        return labels + SAME_PIXELS * moved + handle.near * near

    return handle.repainted(minimised(loss, handle.start, steps, learning_rate))


def require_way(generator: Generator, way: str) -> None:
    """Check that a generator has what a way changes.

    Raises:
        InputError: it takes no latents at single sites.
    """
    if way == SITE_LATENTS and not generator.mixes_classes:
        raise InputError(f"{generator.name} takes no latents at single sites; use {FEATURES} instead of {SITE_LATENTS}")


def _site_latents(generator: Generator, z: Tensor) -> _Handle:
    """Optimise the latents of every site: ``[n, sites, z_dim]``."""
    n_sites = len(generator.sites)

    def repainted(values: Tensor) -> Repainted:
        later = (Conditioning(site, z=values[:, site + 1]) for site in range(n_sites - 1))
        return Repainted(values[:, 0], tuple(later))

    return _Handle(z[:, None].repeat(1, n_sites, 1), NEAR_START, repainted)


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

    return _Handle(torch.cat([z, torch.zeros_like(features).flatten(1)], dim=1), NEAR_FEATURES, repainted)
