"""Randomness that depends only on (run seed, class, index), never on batch, shard, worker or order."""

from __future__ import annotations

import hashlib

import numpy as np

SHARED_CLASS = 2**32 - 1
"""Class index of draws that all classes share."""


def random_generator(run_seed: int, class_id: int, index: int, purpose: str) -> np.random.Generator:
    """Return the NumPy generator of (run seed, class, index, purpose); different arguments give independent streams."""
    tag = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((run_seed, class_id, index, tag))))
