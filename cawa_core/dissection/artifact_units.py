"""Units that go with artifacts: the images that excite them most are far from real ones (Bau et al. 2019, section 4.2).

Everything here is within one class, so that a unit of a rare class is not mistaken for one of artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.class_metrics.frechet import frechet_distances
from cawa_core.class_metrics.moments import Moments
from cawa_core.dissection.removal import Unit
from cawa_core.generators.base import Generator

EXCITED_SHARE = 0.05
"""Share of the images that count as those that excite a unit most."""
FEWEST_EXCITED = 2
"""A Fréchet distance needs as many images."""

BySite = list[NDArray[np.float64]]
"""One value per unit ``[C]``, by site."""


def n_excited(n_images: int) -> int:
    """Return the number of images that count as those that excite a unit most."""
    return max(FEWEST_EXCITED, round(EXCITED_SHARE * n_images))


@torch.inference_mode()
def images_and_highest_features(
    generator: Generator, z: Tensor, class_ids: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield images ``[b, C, H, W]`` in batches, with the highest features of every unit in each, ``[b, C]`` by site.

    Args:
        generator: generator of the images.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]``.
        batch_size: images per batch.
    """
    for rows, ids in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
        state = generator.run_to(0, rows, ids)
        highest = []
        for site in generator.sites:
            state = generator.advance(state, site.index)
            highest.append(state.features.amax(dim=(2, 3)).cpu())
        yield generator.finish(state), highest


def artifact_scores(generator: Generator, highest: Sequence[Tensor], features: Tensor, real: Moments) -> BySite:
    """Return the Fréchet distance between real images and those that excite each unit most.

    Args:
        generator: generator of the images.
        highest: highest features of every unit in each image ``[n, C]``, by site.
        features: features of these images for FID, ``[n, d]``.
        real: moments of the same features of real images.

    Returns:
        Distances by site; NaN for a unit that responds to all images alike, and for one that cannot reach the image.
    """
    count = n_excited(len(features))
    scores = []
    for site, values in zip(generator.sites, highest, strict=True):
        # Stable, so that ties go to the first image on every machine.
        order = torch.sort(values, dim=0, descending=True, stable=True).indices
        distances = frechet_distances(real=real, fake=features, subsets=order[:count].T)
        varies = (values.amax(dim=0) > values.amin(dim=0)).numpy()
        varies[list(site.inert_channels)] = False
        scores.append(np.where(varies, distances, np.nan))
    return scores


def distances_by_chance(
    features: Tensor, real: Moments, draws: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the Fréchet distances between real images and as many random ones as excite a unit: ``[draws]``."""
    count = n_excited(len(features))
    subsets = [torch.from_numpy(random.permutation(len(features))[:count]) for _ in range(draws)]
    return frechet_distances(real=real, fake=features, subsets=torch.stack(subsets))


def worst_units(scores: BySite, count: int) -> list[Unit]:
    """Return the units of the highest scores, the worst first; equal scores by site and channel, unknown ones never."""
    units = [(site, channel) for site, part in enumerate(scores) for channel in range(len(part))]
    values = np.concatenate(scores)
    order = np.argsort(-values, kind="stable")
    return [units[place] for place in order[np.isfinite(values[order])][:count]]
