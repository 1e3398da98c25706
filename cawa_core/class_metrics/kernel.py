"""Kernel distance of features (Bińkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

from torch import Tensor

KERNEL_SAMPLES = 10_000
"""Maximum features per set; only the first ones are compared, as the work grows with their square."""
BLOCK_ROWS = 2048
"""Features on each side of one block of kernel values."""


def kernel_distance(*, real: Tensor, fake: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy under ``k(x, y) = (x·y / d + 1)³``, in float64.

    All pairs of the first :data:`KERNEL_SAMPLES` features of each set are compared, block by block.

    Args:
        real: features ``[n_real, d]``, at least 2.
        fake: features ``[n_fake, d]``, at least 2.

    Raises:
        ValueError: too few features, or ``real`` and ``fake`` differ in d.
    """
    for name, features in (("real", real), ("fake", fake)):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"{name} must be features [n >= 2, d]; got shape {list(features.shape)}")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real and fake must have the same number of dimensions; got {real.shape[1]} and {fake.shape[1]}"
        )
    real = real[:KERNEL_SAMPLES]
    fake = fake[:KERNEL_SAMPLES]
    across = sum(float(_kernel(a, b).sum()) for a in real.split(BLOCK_ROWS) for b in fake.split(BLOCK_ROWS))
    return _mean_off_diagonal(real) + _mean_off_diagonal(fake) - 2 * across / (len(real) * len(fake))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return the kernel values in float64: ``[n, d]``, ``[m, d]`` => ``[n, m]``."""
    inner = (x.double() @ y.double().T).div_(x.shape[1]).add_(1)
    return inner.square().mul_(inner)


def _mean_off_diagonal(features: Tensor) -> float:
    """Return the mean kernel value over pairs of different features; blocks above the diagonal count twice."""
    n = len(features)
    blocks = features.split(BLOCK_ROWS)
    total = 0.0
    for index, block in enumerate(blocks):
        values = _kernel(block, block)
        total += float(values.sum() - values.diagonal().sum())
        total += sum(2 * float(_kernel(block, later).sum()) for later in blocks[index + 1 :])
    return total / (n * (n - 1))
