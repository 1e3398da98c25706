"""Randomness that depends only on (run seed, class, index), never on batch, shard, worker or order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SHARED_CLASS = 2**32 - 1
"""Class index of draws that all classes share."""

BLOCK = 64
"""Latents per random stream, since starting a stream is slow; index i is row i % 64 of block i // 64."""


def random_generator(run_seed: int, class_id: int, index: int, purpose: str) -> np.random.Generator:
    """Return the NumPy generator of (run seed, class, index, purpose); different arguments give independent streams."""
    tag = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((run_seed, class_id, index, tag))))


def standard_normal(run_seed: int, class_id: int, indices: Sequence[int], dim: int, purpose: str = "latent") -> Tensor:
    """Draw one N(0, I) vector per index: float32 ``[len(indices), dim]``."""
    rows = np.asarray(indices, dtype=np.int64).reshape(-1)
    values = np.empty((len(rows), dim), dtype=np.float32)
    for block in np.unique(rows // BLOCK):
        in_block = rows // BLOCK == block
        stream = random_generator(run_seed, class_id, int(block), purpose)
        values[in_block] = stream.standard_normal((BLOCK, dim))[rows[in_block] % BLOCK]
    return torch.from_numpy(values)
