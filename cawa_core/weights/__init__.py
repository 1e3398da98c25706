"""Weights of published models, from the user's path, a cache or the network; loading them runs no code."""

from cawa_core.weights.loading import load_strictly, load_tensors
from cawa_core.weights.store import WeightStore, default_cache

__all__ = ["WeightStore", "default_cache", "load_strictly", "load_tensors"]
