"""What a set of real images offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class RealImages(ABC):
    """Real images sorted by class, in the same form as generated ones.

    Attributes:
        name: the registry's name.
        digest: SHA-256 of all that enters; part of every result's identity.
    """

    name: str
    digest: str

    @abstractmethod
    def images_of(self, class_id: int) -> Tensor:
        """All images of a class: float32 NCHW in [-1, 1], in a fixed order."""
