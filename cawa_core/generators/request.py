"""What a factory of generators is asked for."""

from __future__ import annotations

import dataclasses

from cawa_core.errors import InputError
from cawa_core.weights import WeightStore


@dataclasses.dataclass(frozen=True)
class GeneratorRequest:
    """One generator, by name, and how it is to be used.

    Attributes:
        name: the registry's name, or ``package.module:factory``.
        weights: where weights come from.
        truncation: in (0, 1].
        truncation_statistics: ``interpolated``, or ``package`` for the behaviour of pytorch-pretrained-biggan.
    """

    name: str
    weights: WeightStore = dataclasses.field(default_factory=WeightStore)
    truncation: float = 1.0
    truncation_statistics: str = "interpolated"

    def require_no_weights(self) -> None:
        """For models that bring their own.

        Raises:
            InputError: weights were given.
        """
        if self.weights.is_given(self.name):
            raise InputError(f"weights: {self.name} brings its own; leave --weights out, or name another generator")
