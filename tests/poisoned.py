"""The bundled generator where something is wrong: a class, a device, or a node."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from workflows.lab.trial import IMAGES

POISONED_CLASS, MANY = 8, 60
MARKER = "CAWA_TEST_MARKER"
"""Environment variable: the file that says that a device broke, or how many processes found a place."""


class Poisoned(FashionBigGAN):
    """Raises in the stage that asks for :data:`MANY` latents of a class: the class metrics."""

    def sample_latents(self, run_seed: int, class_id: int, indices: Sequence[int]) -> Tensor:
        """As the bundled generator, or nothing."""
        if class_id == POISONED_CLASS and MANY - 1 <= max(indices) < 10**6:  # not latents that other analyses hold out
            raise RuntimeError("poison")
        return super().sample_latents(run_seed, class_id, indices)


def generator() -> FashionBigGAN:
    """Factory."""
    return Poisoned.bundled(GeneratorRequest("fashion-biggan"))


class WithBrokenDevice(FashionBigGAN):
    """Its first process meets a device-side error, after which everything fails there; the next ones are well."""

    broken = False

    def sample_latents(self, run_seed: int, class_id: int, indices: Sequence[int]) -> Tensor:
        """As the bundled generator, or what CUDA says in a process whose device is lost."""
        with contextlib.suppress(FileExistsError):
            if len(indices) > IMAGES:  # not in the driver's trial
                Path(os.environ[MARKER]).touch(exist_ok=False)
                WithBrokenDevice.broken = True
        if WithBrokenDevice.broken:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().sample_latents(run_seed, class_id, indices)


def with_broken_device() -> FashionBigGAN:
    """Factory."""
    return WithBrokenDevice.bundled(GeneratorRequest("fashion-biggan"))


def with_two_places() -> FashionBigGAN:
    """Factory: in the first two processes, the driver and one worker."""
    marker = os.environ[MARKER]
    for place in range(2):
        with contextlib.suppress(FileExistsError):
            Path(f"{marker}-{place}").touch(exist_ok=False)
            return FashionBigGAN.bundled(GeneratorRequest("fashion-biggan"))
    raise InputError("device 'cuda' is not on this machine")
