"""How the bundled models are trained: data, settings and order, for ``fashion`` and for ``scenes``."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from cawa_core.evaluators.small_cnn import FashionCNN, ScenesCNN, SmallClassifier
from cawa_core.generators.small_biggan.generator import SCENES_ARCHITECTURE, FashionBigGAN, ScenesBigGAN
from cawa_core.generators.small_biggan.network import SmallBigGANNetwork
from cawa_core.real_images.fashion import FashionMnistTest
from cawa_core.rendering.pixels import as_bytes
from cawa_core.segmenters.small_unet import SCENES_SEGMENTER_WEIGHTS, SmallUNet
from cawa_core.storage import write_atomically
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES, LABELS
from workflows.reference.augmentation import degraded
from workflows.reference.environment import Environment
from workflows.reference.generator_training import GeneratorTraining, train_generator
from workflows.reference.scenes_quality import ScenesQuality
from workflows.reference.supervised_training import (
    Network,
    SupervisedTraining,
    accuracy,
    n_steps,
    train_supervised,
)
from workflows.reference.training_data import SCENES_SEED, load_fashion_images, render_scenes
from workflows.running.progress import ProgressReporter

FRESH_SEED = 2
"""Seed of the pictures that the models of ``scenes`` are measured on."""
NOTE_EVERY = 25
"""Steps between two notes of the losses; each makes a GPU wait."""
SHARES_OF_TIME = {"classifier": 0.09, "segmenter": 0.12, "evaluation": 0.06}
"""Shares of a time limit; the generator gets the rest."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Options of a run.

    Attributes:
        folder: folder of the weights.
        report: folder of figures and sheets.
        environment: device, arithmetic and checkpoints.
        seconds: time limit of all trainings of a recipe together, from ``start`` on.
        start: when the run began, by :func:`time.monotonic`.
        processes: processes that render pictures.
        pictures: pictures of ``scenes`` to train on; None: as many as suit the device.
        fresh: pictures of ``scenes`` to measure on.
        iterations, batch_size: of a generator's training; None: the recipe's.
        classifier_epochs, segmenter_epochs: epochs; None: the recipe's.
    """

    folder: Path
    report: Path
    environment: Environment
    seconds: float
    start: float
    processes: int = 1
    pictures: int | None = None
    fresh: int = 6000
    iterations: int | None = None
    batch_size: int | None = None
    classifier_epochs: int | None = None
    segmenter_epochs: int | None = None

    def share(self, name: str) -> Environment:
        """Return the environment of a training with its share of the time limit."""
        return self.environment.for_seconds(self.seconds * SHARES_OF_TIME[name])

    def rest(self) -> Environment:
        """Return the environment of the last training, which leaves time for the evaluation."""
        left = self.seconds * (1 - SHARES_OF_TIME["evaluation"]) - (time.monotonic() - self.start)
        return self.environment.for_seconds(left)


def train_fashion(plan: Plan) -> None:
    """Train fashion-cnn and fashion-biggan on the training images of Fashion-MNIST."""
    images, labels = load_fashion_images()
    settings = _with_epochs(SupervisedTraining(), plan.classifier_epochs)
    classifier = _supervised("fashion-cnn", SmallClassifier, images, labels, settings, plan.share("classifier"))
    print(f"fashion-cnn: accuracy {accuracy(classifier, *fashion_test_set()):.4f} on the test images", flush=True)
    save_weights(classifier, plan.folder / FashionCNN.weights)
    training = _adjusted(GeneratorTraining(), plan)
    generator = _generator("fashion-biggan", images, labels, training, plan.rest())
    save_generator(generator, plan.folder / FashionBigGAN.weights)


def train_scenes(plan: Plan) -> None:
    """Train scenes-cnn, scenes-segmenter and scenes-biggan on rendered pictures, and measure them."""
    on_gpu = plan.environment.device.type == "cuda"
    n_pictures = plan.pictures or (240_000 if on_gpu else 60_000)
    data = render_scenes(n_pictures, SCENES_SEED, plan.processes)
    quality = ScenesQuality(render_scenes(plan.fresh, FRESH_SEED), plan.report)
    quality.record("device", torch.cuda.get_device_name() if on_gpu else "CPU")
    quality.write_world_sheet()
    print(f"scenes: {n_pictures} pictures rendered, {time.monotonic() - plan.start:.0f} s", flush=True)
    settings = SCENES_SUPERVISED_ON_GPU if on_gpu else SCENES_SUPERVISED

    def build_classifier() -> SmallClassifier:
        return SmallClassifier(len(CLASS_NAMES), SCENES_ARCHITECTURE.image_channels)

    epochs = _with_epochs(settings, plan.classifier_epochs)
    classifier = _supervised(
        "scenes-cnn", build_classifier, data.images, data.classes, epochs, plan.share("classifier")
    )
    save_weights(classifier, plan.folder / ScenesCNN.weights)
    print(quality.measure_classifier(classifier), f"{time.monotonic() - plan.start:.0f} s", flush=True)
    epochs = _with_epochs(dataclasses.replace(settings, label_smoothing=0.0), plan.segmenter_epochs)
    segmenter = _supervised(
        "scenes-segmenter", lambda: SmallUNet(len(LABELS)), data.images, data.labels, epochs, plan.share("segmenter")
    )
    save_weights(segmenter, plan.folder / SCENES_SEGMENTER_WEIGHTS)
    print(quality.measure_segmenter(segmenter), f"{time.monotonic() - plan.start:.0f} s", flush=True)

    def on_checkpoint(iteration: int, network: SmallBigGANNetwork) -> None:
        save_generator(network, plan.folder / ScenesBigGAN.weights)
        line = quality.measure_generator(network, classifier, segmenter, iteration)
        print(line, f"{time.monotonic() - plan.start:.0f} s", flush=True)

    training = _adjusted(SCENES_GENERATOR_ON_GPU if on_gpu else SCENES_GENERATOR, plan)
    _generator("scenes-biggan", data.images, data.classes, training, plan.rest(), on_checkpoint)
    quality.record("seconds", round(time.monotonic() - plan.start, 1))


RECIPES: dict[str, Callable[[Plan], None]] = {"fashion": train_fashion, "scenes": train_scenes}

SCENES_SUPERVISED = SupervisedTraining(epochs=4, augment=degraded)
SCENES_SUPERVISED_ON_GPU = dataclasses.replace(SCENES_SUPERVISED, batch_size=256)
SCENES_GENERATOR = GeneratorTraining(
    architecture=SCENES_ARCHITECTURE,
    discriminator_widths=(32, 64, 96, 96),
    discriminator_downsample=(True, True, True, False),
    iterations=15_000,
    average_every=4,
    decay_from=0.5,
    statistics_batches=20,
    statistics_batch_size=300,
)
SCENES_GENERATOR_ON_GPU = dataclasses.replace(
    SCENES_GENERATOR,
    discriminator_widths=(64, 128, 192, 256),
    iterations=40_000,
    batch_size=512,
    generator_learning_rate=2e-4,
    average_decay=0.98,
    average_start=1000,
    average_every=8,
)
"""An average over more than about 50 steps loses what each step draws elsewhere: suns, clouds and mountains."""


class StepReporter:
    """Reports steps with the losses of the last noted one.

    Args:
        progress: counter of the steps.
    """

    def __init__(self, progress: ProgressReporter) -> None:
        self.progress = progress
        self.note = ""

    def losses(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Report that a step, counted from 1, is done."""
        if step % NOTE_EVERY == 1:
            self.note = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        self.progress.advance(step - self.progress.done, self.note)

    def loss(self, step: int, loss: Tensor) -> None:
        """Report that a step with a single loss is done."""
        self.losses(step, {"loss": loss})


def _supervised(
    name: str,
    build: Callable[[], Network],
    images: Tensor,
    labels: Tensor,
    settings: SupervisedTraining,
    environment: Environment,
) -> Network:
    with ProgressReporter(f"training {name}", n_steps(len(images), settings), "steps") as progress:
        on_step = StepReporter(progress)
        return train_supervised(build, images, labels, settings, on_step.loss, environment, name)


def _generator(
    name: str,
    images: Tensor,
    labels: Tensor,
    settings: GeneratorTraining,
    environment: Environment,
    on_checkpoint: Callable[[int, SmallBigGANNetwork], None] | None = None,
) -> SmallBigGANNetwork:
    with ProgressReporter(f"training {name}", settings.iterations, "steps") as progress:
        on_step = StepReporter(progress)
        return train_generator(images, labels, settings, on_step.losses, environment, on_checkpoint, name)


def _adjusted(settings: GeneratorTraining, plan: Plan) -> GeneratorTraining:
    return dataclasses.replace(
        settings,
        iterations=plan.iterations or settings.iterations,
        batch_size=plan.batch_size or settings.batch_size,
    )


def _with_epochs(settings: SupervisedTraining, epochs: int | None) -> SupervisedTraining:
    return settings if epochs is None else dataclasses.replace(settings, epochs=epochs)


def save_weights(network: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a network's tensors as safetensors."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(path, save(tensors, metadata or {}))


def save_generator(network: SmallBigGANNetwork, path: Path) -> None:
    """Write a generator's tensors, with its architecture in the metadata."""
    save_weights(network, path, {"architecture": json.dumps(dataclasses.asdict(network.architecture))})


def fashion_test_set() -> tuple[Tensor, Tensor]:
    """Return all 10,000 bundled test images as uint8 with their labels, class by class."""
    dataset = FashionMnistTest()
    images = [as_bytes(dataset.images_of(class_id)) for class_id in range(10)]
    labels = [torch.full((len(rows),), class_id) for class_id, rows in enumerate(images)]
    return torch.cat(images), torch.cat(labels)
