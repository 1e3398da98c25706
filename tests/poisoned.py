"""The bundled generator, but for one class of which it refuses to make many images."""

from collections.abc import Sequence

from torch import Tensor

from cawa_core.generators.fashion import FashionBigGAN
from cawa_core.generators.request import GeneratorRequest

POISONED_CLASS, MANY = 8, 60


class Poisoned(FashionBigGAN):
    """Raises in the stage that asks for :data:`MANY` latents of a class: the class metrics."""

    def sample_latents(self, run_seed: int, class_id: int, indices: Sequence[int]) -> Tensor:
        """As the bundled generator, or nothing."""
        if class_id == POISONED_CLASS and max(indices) >= MANY - 1:
            raise RuntimeError("poison")
        return super().sample_latents(run_seed, class_id, indices)


def generator() -> FashionBigGAN:
    """Factory."""
    return Poisoned.bundled(GeneratorRequest("fashion-biggan"))
