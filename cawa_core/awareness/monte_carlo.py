"""Monte Carlo awareness (paper Appendix A); all classes share the latent part of the modulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.awareness.result import Awareness, robust_variance
from cawa_core.generators.base import Modulation
from cawa_core.numerics.parallel import map_in_threads

COLUMNS = len(dataclasses.fields(Awareness))
LATENT_PARTS = 640_000
"""Channels times latents whose latent parts a thread computes once for all classes: 10 MB of gains and offsets."""
STRIP = 160_000
"""Channels times latents processed at once; five such float64 arrays take 6.4 MB."""


def monte_carlo_awareness(
    modulation: Modulation, embeddings: Tensor, z: Tensor, *, diagnostics: bool = True
) -> Awareness:
    """Estimate the awareness of every channel of a site for several classes.

    Args:
        modulation: gain and offset of the site as affine maps.
        embeddings: class embeddings ``[n_classes, embed_dim]``.
        z: latents ``[n, z_dim]`` from N(0, I), shared between the classes.
        diagnostics: whether to compute the statistics that Appendix A does not define. If False, all columns except
            category awareness, its standard error and latent awareness are NaN.

    Returns:
        Arrays ``[n_classes, C]``; the standard error is that of the mean over the n latents.

    Raises:
        ValueError: fewer than 2 latents.
    """
    if len(z) < 2:
        raise ValueError(f"z must hold at least 2 latents for a variance; got {len(z)}")
    gain = modulation.gain.double()
    offset = modulation.offset.double()
    embeddings = embeddings.cpu().double()
    transposed_latents = z.cpu().double().T.contiguous()
    class_gains = gain.class_part(embeddings)
    class_offsets = offset.class_part(embeddings)

    def block_statistics(rows: slice) -> NDArray[np.float64]:
        latent_parts = gain.from_latent[rows] @ transposed_latents, offset.from_latent[rows] @ transposed_latents
        return _statistics(latent_parts, (class_gains[:, rows], class_offsets[:, rows]), diagnostics)

    channels = len(gain.constant)
    size = max(1, min(LATENT_PARTS // len(z), -(-channels // torch.get_num_threads())))
    blocks = [slice(start, start + size) for start in range(0, channels, size)]
    return Awareness(*np.concatenate(map_in_threads(block_statistics, blocks), axis=2))


def awareness_of_samples(gain: Tensor, offset: Tensor) -> Awareness:
    """Compute the awareness for one class from sampled gains and offsets, ``[n, C]`` each.

    Returns:
        Arrays ``[1, C]``.

    Raises:
        ValueError: fewer than 2 samples.
    """
    if len(gain) < 2:
        raise ValueError(f"gain must hold at least 2 samples for a variance; got {len(gain)}")
    gain, offset = (samples.T.cpu().double().contiguous() for samples in (gain, offset))
    zero = torch.zeros(1, len(gain), dtype=torch.float64)
    return Awareness(*_statistics((gain, offset), (zero, zero), diagnostics=True))


def _statistics(
    latent_parts: tuple[Tensor, Tensor], class_parts: tuple[Tensor, Tensor], diagnostics: bool
) -> NDArray[np.float64]:
    """Compute the awareness columns ``[7, n_classes, C]``.

    Args:
        latent_parts: latent parts of gain and offset, ``[C, n]`` each.
        class_parts: class parts of gain and offset, ``[n_classes, C]`` each.
        diagnostics: whether to fill the last four columns.
    """
    latent_gain, latent_offset = latent_parts
    channels, n = latent_gain.shape
    height = max(1, min(STRIP // n, channels))
    buffers = torch.empty(5, height, n, dtype=torch.float64)
    smallest = latent_gain.amin(dim=1)
    columns = np.full((COLUMNS, *class_parts[0].shape), np.nan)
    for start in range(0, channels, height):
        rows = slice(start, min(start + height, channels))
        gain, offset, negative_probe, *spare = buffers[:, : rows.stop - start]
        for index, (class_gain, class_offset) in enumerate(zip(*(part[:, rows] for part in class_parts), strict=True)):
            torch.add(latent_gain[rows], class_gain[:, None], out=gain)
            if diagnostics or not class_gain.all():
                torch.add(latent_offset[rows], class_offset[:, None], out=offset)
                torch.div(offset, gain, out=negative_probe)  # -t of eq. 3
                columns[:3, index, rows] = _moments(negative_probe, spare[0])
            else:
                centre = class_offset / class_gain
                torch.addcmul(latent_offset[rows], latent_gain[rows], -centre[:, None], out=offset)
                torch.div(offset, gain, out=negative_probe)
                columns[:3, index, rows] = _moments_about(centre, negative_probe)
            if diagnostics:
                positive = bool((smallest[rows] + class_gain > 0).all())
                columns[3:, index, rows] = _diagnostics(gain, offset, negative_probe, *spare, positive=positive)
    return columns


def _moments(negative_probe: Tensor, work: Tensor) -> list[NDArray[np.float64]]:
    """Return the mean, its standard error and the variance of each row of ``[C, n]``: ``[C]`` each."""
    n = negative_probe.shape[1]
    mean = negative_probe.sum(dim=1) / n
    torch.sub(negative_probe, mean[:, None], out=work)
    variance = _inner(work, work) / (n - 1)
    return [mean.numpy(), np.sqrt(variance / n), variance]


def _moments_about(centre: Tensor, distance: Tensor) -> list[NDArray[np.float64]]:
    """Return the same statistics of ``centre [C]`` plus ``distance [C, n]``.

    For ``centre = b0/g0`` the distance is ``β/γ - b0/g0 = (β - b0 - centre·(γ - g0)) / γ``. It costs as many
    operations as the ratio itself, and is so close to zero that the mean can be subtracted after squaring.
    """
    n = distance.shape[1]
    mean = distance.sum(dim=1).numpy() / n
    variance = np.maximum(_inner(distance, distance) - n * mean**2, 0) / (n - 1)
    return [centre.numpy() + mean, np.sqrt(variance / n), variance]


def _diagnostics(
    gain: Tensor, offset: Tensor, negative_probe: Tensor, work: Tensor, double_phi: Tensor, *, positive: bool
) -> list[NDArray[np.float64]]:
    """Return the last four columns ``[C]`` from arrays ``[C, n]``, and overwrite all of these.

    ``positive`` promises that every gain is above zero, which saves a few operations.
    """
    n = gain.shape[1]
    threshold = negative_probe
    negative = np.zeros(len(gain))
    if not positive:
        negative = np.count_nonzero(gain.numpy() <= 0, axis=1) / n
        threshold = torch.div(offset, gain.abs_(), out=work)
    torch.mul(threshold, -math.sqrt(0.5), out=work)
    torch.erfc(work, out=double_phi)  # 2Φ
    probability = double_phi.sum(dim=1).numpy() / (2 * n)
    activation = _inner(offset, double_phi) / (2 * n)
    work.square_().neg_().exp_()
    activation += _inner(gain, work) / (n * math.sqrt(2 * math.pi))
    return [robust_variance(*_quartiles(negative_probe.numpy())), negative, probability, activation]


def _inner(left: Tensor, right: Tensor) -> NDArray[np.float64]:
    """Return the inner products of matching rows: ``[C, n]``, ``[C, n]`` => ``[C]``."""
    return np.asarray(np.vecdot(left.numpy(), right.numpy()))


def _quartiles(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper quartile of each row of ``[C, n]``; the rows are reordered in place."""
    n = samples.shape[1]
    upper, smallest = _quantile(samples, 0.75 * (n - 1))
    lower, _ = _quantile(smallest, 0.25 * (n - 1))
    return lower, upper


def _quantile(samples: NDArray[np.float64], position: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate linearly between two order statistics of each row; also return the rows up to the upper one.

    The upper order statistic is selected by a partition; the lower one is the maximum of what lies before it. NumPy
    vectorises both, whereas a partition at two positions is not vectorised.
    """
    below = math.floor(position)
    samples.partition(below + 1, axis=1)
    lower = torch.from_numpy(samples[:, : below + 1].max(axis=1))
    upper = torch.from_numpy(samples[:, below + 1])
    interpolated = torch.lerp(lower, upper, position - below)
    return interpolated.numpy(), samples[:, : below + 2]
