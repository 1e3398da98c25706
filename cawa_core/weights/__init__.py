"""Weights of published models: from a path that the user gives, a cache or the network, loaded without running code."""

from cawa_core.weights.loading import load_strictly, load_tensors
from cawa_core.weights.store import WeightStore, default_cache

__all__ = ["WeightStore", "default_cache", "load_strictly", "load_tensors"]
