"""Request for a generator, passed to its factory."""

from __future__ import annotations

import dataclasses

from cawa_core.errors import InputError
from cawa_core.weights import WeightStore


@dataclasses.dataclass(frozen=True)
class GeneratorRequest:
    """Name of a generator, the source of its weights, and its truncation.

    Attributes:
        name: name in the registry, or ``package.module:factory``.
        weights: source of the weights.
        truncation: truncation of the latents, in (0, 1].
        truncation_statistics: ``interpolated``, or ``package`` for the behaviour of pytorch-pretrained-biggan.
    """

    name: str
    weights: WeightStore = dataclasses.field(default_factory=WeightStore)
    truncation: float = 1.0
    truncation_statistics: str = "interpolated"

    def require_no_weights(self) -> None:
        """Check that no weights are given for a model that brings its own.

        Raises:
            InputError: weights were given.
        """
        if self.weights.is_given(self.name):
            raise InputError(f"weights: {self.name} brings its own weights; omit --weights or choose another generator")
