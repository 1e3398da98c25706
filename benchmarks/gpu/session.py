"""The device, the sizes, the models with random weights and the time that the steps of a run share."""

from __future__ import annotations

import dataclasses
import functools
import time
from pathlib import Path

import torch
from torch import Tensor

from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest
from cawa_core.generators import GENERATORS
from cawa_core.generators.base import Generator
from cawa_core.generators.class_tables import imagenet_classes
from cawa_core.generators.request import GeneratorRequest
from cawa_core.rendering.pixels import as_pixels
from cawa_core.weights import WeightStore
from tests.biggan_deep_models import random_network, save_folder
from tests.biggan_models import save_checkpoint
from tests.inception_models import random_inception_state

BUNDLED = "fashion-biggan"
BUNDLED_EVALUATOR = "fashion-cnn"
INCEPTION = "inception-v3"
DEEP_128 = "biggan-deep-128"
DEEP_256 = "biggan-deep-256"
BIGGAN = "biggan"
CLASS_ID = 207
"""Golden retriever: the class whose images are made."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the work of each step is.

    Attributes:
        widths: channel width of each large generator; the published one on a GPU.
        latents: that conformance compares.
        masks: of a site, that conformance compares.
        batch: images per pass where speed is measured on large models; latents are as many.
        timed_masks: of a site, where speed is measured.
        timed_sites: how many sites, evenly spread, where speed is measured.
        audit_latents: masking latents of the bundled audits.
        fakes: generated images of the class metrics, bundled and large generator.
        real_images: of the class that the large generator is compared with.
        awareness_classes: classes of the closed form.
        repeats: of each timing.
    """

    widths: dict[str, int]
    latents: int
    masks: int
    batch: int
    timed_masks: int
    timed_sites: int
    audit_latents: int
    fakes: tuple[int, int]
    real_images: int
    awareness_classes: int
    repeats: int


FULL = Sizes({DEEP_128: 128, DEEP_256: 128, BIGGAN: 96}, 4, 4, 64, 8, 6, 64, (50_000, 50_000), 200, 1000, 3)
SMALL = Sizes({DEEP_128: 16, DEEP_256: 8, BIGGAN: 8}, 2, 2, 4, 2, 3, 4, (1_000, 40), 12, 20, 1)


@dataclasses.dataclass(frozen=True)
class Session:
    """One run.

    Attributes:
        device: that is measured; the reference is always the CPU.
        sizes: of the work.
        folder: where models and audits of this run are written.
        deadline: of the run, on the clock of :func:`time.monotonic`.
    """

    device: torch.device
    sizes: Sizes
    folder: Path
    deadline: float

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def precisions(self) -> tuple[str, ...]:
        """Arithmetics that the device has and is used with."""
        return ("float32", "tf32", "bfloat16", "float16") if self.device.type == "cuda" else ("float32", "bfloat16")

    @functools.cached_property
    def weights(self) -> dict[str, str]:
        """Files of the large models; each is written when it is first asked for."""
        return {}

    def weights_of(self, name: str) -> str:
        """The file or folder of a model with random weights."""
        if name not in self.weights:
            path = self.folder / name
            if name == INCEPTION:
                torch.save(random_inception_state(), path)
            elif name == BIGGAN:
                save_checkpoint(path, self.sizes.widths[name])
            else:
                side = int(name.rsplit("-", 1)[1])
                save_folder(random_network(side, channel_width=self.sizes.widths[name]), path)
            self.weights[name] = str(path)
        return self.weights[name]

    def store(self, *names: str) -> WeightStore:
        """Say where the weights of some models are; bundled ones have none."""
        large = [name for name in names if name not in (BUNDLED, BUNDLED_EVALUATOR)]
        return WeightStore({name: self.weights_of(name) for name in large}, offline=True)

    def generator(self, name: str, device: torch.device | None = None) -> Generator:
        """Load a generator, on the measured device by default."""
        generator: Generator = GENERATORS.make(name, GeneratorRequest(name, self.store(name)))
        return generator.to(device or self.device)

    def evaluator(self, name: str, device: torch.device | None = None) -> Evaluator:
        """Load a classifier, on the measured device by default."""
        evaluator: Evaluator = EVALUATORS.make(name, EvaluatorRequest(name, self.store(name)))
        return evaluator.eval().requires_grad_(False).to(device or self.device)

    def models(self, name: str, device: torch.device | None = None) -> tuple[Generator, Evaluator]:
        """A generator and the classifier that scores it."""
        return self.generator(name, device), self.evaluator(evaluator_of(name), device)

    @functools.cached_property
    def real_images(self) -> Path:
        """A folder with pictures of one class, noise at 128 pixels."""
        from PIL import Image

        folder = self.folder / "real" / imagenet_classes().wordnet_ids[CLASS_ID]
        folder.mkdir(parents=True)
        random = torch.Generator().manual_seed(0)
        for place in range(self.sizes.real_images):
            picture: Tensor = torch.rand(3, 128, 128, generator=random) * 2 - 1
            Image.fromarray(as_pixels(picture)).save(folder / f"{place}.png")
        return folder.parent


def evaluator_of(name: str) -> str:
    """The classifier that scores the images of a generator."""
    return BUNDLED_EVALUATOR if name == BUNDLED else INCEPTION


def spread(count: int, of: int) -> list[int]:
    """So many places of 0 to ``of - 1``, evenly spread, both ends included."""
    count = min(count, of)
    return [round(place * (of - 1) / max(1, count - 1)) for place in range(count)]
