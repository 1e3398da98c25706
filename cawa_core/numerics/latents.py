"""Latents that depend only on (run seed, class, index), never on batch, shard, worker or order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cawa_core.numerics.seeds import random_generator

BLOCK = 64
"""Latents per random stream, since starting a stream is slow; index i is row i % 64 of block i // 64."""


def standard_normal(run_seed: int, class_id: int, indices: Sequence[int], dim: int, purpose: str = "latent") -> Tensor:
    """Draw one N(0, I) vector per index: float32 ``[len(indices), dim]``."""
    rows = np.asarray(indices, dtype=np.int64).reshape(-1)
    values = np.empty((len(rows), dim), dtype=np.float32)
    for block in np.unique(rows // BLOCK):
        in_block = rows // BLOCK == block
        stream = random_generator(run_seed, class_id, int(block), purpose)
        values[in_block] = stream.standard_normal((BLOCK, dim))[rows[in_block] % BLOCK]
    return torch.from_numpy(values)
