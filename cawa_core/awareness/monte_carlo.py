"""Monte Carlo awareness (paper Appendix A), the latent part of the modulation shared between classes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.awareness.result import Awareness, robust_variance
from cawa_core.generators.base import Modulation
from cawa_core.parallel import map_in_threads

COLUMNS = len(dataclasses.fields(Awareness))
LATENT_PARTS = 640_000
"""Channels times latents whose latent parts a thread holds for all classes: 10 MB of gains and offsets."""
STRIP = 160_000
"""Channels times latents worked on at once: five such arrays in float64 fill three quarters of a 2 MB cache."""


def monte_carlo_awareness(
    modulation: Modulation, embeddings: Tensor, z: Tensor, *, diagnostics: bool = True
) -> Awareness:
    """Estimate the awareness of every channel of a site for several classes.

    Args:
        modulation: gain and offset of the site as affine maps.
        embeddings: class embeddings ``[n_classes, embed_dim]``.
        z: latents ``[n, z_dim]`` from N(0, I), shared between the classes.
        diagnostics: whether to compute what Appendix A does not; without, only category awareness, its standard
            error and latent awareness are not NaN.

    Returns:
        Arrays ``[n_classes, C]``; the standard error is that of the mean over the n latents.
    """
    if len(z) < 2:
        raise ValueError(f"z must hold at least 2 latents for a variance; got {len(z)}")
    gain, offset = modulation.gain.double(), modulation.offset.double()
    embeddings, transposed = embeddings.cpu().double(), z.cpu().double().T.contiguous()
    class_gains, class_offsets = gain.class_part(embeddings), offset.class_part(embeddings)

    def block_statistics(rows: slice) -> NDArray[np.float64]:
        latent = gain.from_latent[rows] @ transposed, offset.from_latent[rows] @ transposed
        return _statistics(latent, (class_gains[:, rows], class_offsets[:, rows]), diagnostics)

    channels = len(gain.constant)
    size = max(1, min(LATENT_PARTS // len(z), -(-channels // torch.get_num_threads())))
    blocks = [slice(start, start + size) for start in range(0, channels, size)]
    return Awareness(*np.concatenate(map_in_threads(block_statistics, blocks), axis=2))


def awareness_of_samples(gain: Tensor, offset: Tensor) -> Awareness:
    """The same statistics for one class from gains and offsets that were sampled elsewhere, ``[n, C]`` each.

    Returns:
        Arrays ``[1, C]``.
    """
    if len(gain) < 2:
        raise ValueError(f"gain must hold at least 2 samples for a variance; got {len(gain)}")
    samples = tuple(part.T.cpu().double().contiguous() for part in (gain, offset))
    zero = torch.zeros(1, gain.shape[1], dtype=torch.float64)
    return Awareness(*_statistics((samples[0], samples[1]), (zero, zero), diagnostics=True))


def _statistics(
    latent: tuple[Tensor, Tensor], class_parts: tuple[Tensor, Tensor], diagnostics: bool
) -> NDArray[np.float64]:
    """Latent parts of gain and offset ``[C, n]``, class parts ``[n_classes, C]`` => columns ``[7, n_classes, C]``."""
    channels, n = latent[0].shape
    height = max(1, min(STRIP // n, channels))
    buffers, least = torch.empty(5, height, n, dtype=torch.float64), latent[0].amin(dim=1)
    found = np.full((COLUMNS, *class_parts[0].shape), np.nan)
    for start in range(0, channels, height):
        rows = slice(start, min(start + height, channels))
        gain, offset, negative_probe, *spare = buffers[:, : rows.stop - start]
        for index, (class_gain, class_offset) in enumerate(zip(*(part[:, rows] for part in class_parts), strict=True)):
            torch.add(latent[0][rows], class_gain[:, None], out=gain)
            if diagnostics or not class_gain.all():
                torch.add(latent[1][rows], class_offset[:, None], out=offset)
                torch.div(offset, gain, out=negative_probe)  # -t of eq. 3
                found[:3, index, rows] = _moments(negative_probe, spare[0])
            else:
                centre = class_offset / class_gain
                torch.addcmul(latent[1][rows], latent[0][rows], -centre[:, None], out=offset)
                torch.div(offset, gain, out=negative_probe)
                found[:3, index, rows] = _moments_about(centre, negative_probe)
            if diagnostics:
                positive = bool((least[rows] + class_gain > 0).all())
                found[3:, index, rows] = _diagnostics(gain, offset, negative_probe, *spare, positive=positive)
    return found


def _moments(negative_probe: Tensor, work: Tensor) -> list[NDArray[np.float64]]:
    """Mean, its standard error and variance of each row of ``[C, n]``: ``[C]`` each."""
    n = negative_probe.shape[1]
    mean = negative_probe.sum(dim=1) / n
    torch.sub(negative_probe, mean[:, None], out=work)
    variance = _inner(work, work) / (n - 1)
    return [mean.numpy(), np.sqrt(variance / n), variance]


def _moments_about(centre: Tensor, distance: Tensor) -> list[NDArray[np.float64]]:
    """The same of ``centre [C]`` plus ``distance [C, n]``.

    For ``centre = b0/g0`` that is ``β/γ - b0/g0 = (β - b0 - centre·(γ - g0)) / γ``: as many operations as the ratio
    itself, and so near zero that sums of squares need no mean taken off.
    """
    n = distance.shape[1]
    mean = distance.sum(dim=1).numpy() / n
    variance = np.maximum(_inner(distance, distance) - n * mean**2, 0) / (n - 1)
    return [centre.numpy() + mean, np.sqrt(variance / n), variance]


def _diagnostics(
    gain: Tensor, offset: Tensor, negative_probe: Tensor, work: Tensor, other: Tensor, *, positive: bool
) -> list[NDArray[np.float64]]:
    """The other columns ``[C]`` from arrays ``[C, n]``, which are all written over.

    ``positive`` says that no gain is negative or zero, which saves a few operations.
    """
    n, threshold, negative = gain.shape[1], negative_probe, np.zeros(len(gain))
    if not positive:
        negative = np.count_nonzero(gain.numpy() <= 0, axis=1) / n
        threshold = torch.div(offset, gain.abs_(), out=work)
    torch.mul(threshold, -math.sqrt(0.5), out=work)
    torch.erfc(work, out=other)  # 2Φ
    probability = other.sum(dim=1).numpy() / (2 * n)
    activation = _inner(offset, other) / (2 * n)
    work.square_().neg_().exp_()
    activation += _inner(gain, work) / (n * math.sqrt(2 * math.pi))
    return [robust_variance(*_quartiles(negative_probe.numpy())), negative, probability, activation]


def _inner(one: Tensor, other: Tensor) -> NDArray[np.float64]:
    """Inner products of rows: ``[C, n]`` twice => ``[C]``."""
    return np.asarray(np.vecdot(one.numpy(), other.numpy()))


def _quartiles(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper quartile of each row of ``[C, n]``, whose order is lost."""
    n = samples.shape[1]
    upper, smallest = _quantile(samples, 0.75 * (n - 1))
    lower, _ = _quantile(smallest, 0.25 * (n - 1))
    return lower, upper


def _quantile(samples: NDArray[np.float64], position: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear interpolation between order statistics of each row; and the part of the rows up to the upper of the two.

    A selection of one order statistic, and the largest below it: NumPy does either with vector instructions,
    which it has for one position at a time only.
    """
    below = math.floor(position)
    samples.partition(below + 1, axis=1)
    lower, upper = torch.from_numpy(samples[:, : below + 1].max(axis=1)), torch.from_numpy(samples[:, below + 1])
    interpolated = torch.lerp(lower, upper, position - below)
    return interpolated.numpy(), samples[:, : below + 2]
