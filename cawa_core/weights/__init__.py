"""Weights of published models, from the user's path, a cache or the network; loading them runs no code."""

from cawa_core.weights.fitting import load_strictly, require_fit, value_faults
from cawa_core.weights.loading import Checkpoint, load_tensors, read_checkpoint
from cawa_core.weights.selection import without_prefix
from cawa_core.weights.store import WeightStore, default_cache

__all__ = [
    "Checkpoint",
    "WeightStore",
    "default_cache",
    "load_strictly",
    "load_tensors",
    "read_checkpoint",
    "require_fit",
    "value_faults",
    "without_prefix",
]
