"""Train both bundled models from fixed seeds, and write their weights and digests to the package."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save
from torch import nn

from cawa_core import assets
from cawa_core.digests import digest_of_file
from cawa_core.evaluators.fashion import WEIGHTS as CLASSIFIER_WEIGHTS
from cawa_core.generators.fashion.generator import WEIGHTS as GENERATOR_WEIGHTS
from cawa_core.real_images.fashion import FashionMnistTest
from cawa_core.storage import write_atomically
from workflows.reference.classifier_training import ClassifierTraining, accuracy, n_steps, train_classifier
from workflows.reference.generator_training import GeneratorTraining, train_generator
from workflows.reference.training_data import load_training_images
from workflows.running.progress import ProgressReporter


def save_weights(network: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a network's tensors as safetensors."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(path, save(tensors, metadata))


def write_digests(folder: Path) -> None:
    """Record the SHA-256 of every bundled data file in ``SHA256SUMS``."""
    files = sorted(path for pattern in ("*.csv", "*.safetensors", "*/*.gz") for path in folder.glob(pattern))
    lines = [f"{digest_of_file(path)}  {path.relative_to(folder).as_posix()}" for path in files]
    write_atomically(folder / "SHA256SUMS", ("\n".join(lines) + "\n").encode())


def main(
    folder: Annotated[Path, typer.Option(help="Folder to write the weights to.")] = assets.FOLDER,
    generator_iterations: Annotated[
        int, typer.Option(help="Training steps of the generator.")
    ] = GeneratorTraining.iterations,
    classifier_epochs: Annotated[
        int, typer.Option(help="Training epochs of the classifier.")
    ] = ClassifierTraining.epochs,
) -> None:
    """Retrain fashion-cnn and fashion-biggan from scratch."""
    images, labels = load_training_images()
    evaluation = ClassifierTraining(epochs=classifier_epochs)
    with ProgressReporter("training fashion-cnn", n_steps(len(images), evaluation), "steps") as progress:
        classifier = train_classifier(
            images, labels, evaluation, lambda _, loss: progress.advance(1, f"loss {loss:.3f}")
        )
    test_images, test_labels = test_set()
    print(f"fashion-cnn: accuracy {accuracy(classifier, test_images, test_labels):.4f} on the test images")
    synthesis = GeneratorTraining(iterations=generator_iterations)
    with ProgressReporter("training fashion-biggan", synthesis.iterations, "steps") as progress:

        def on_step(iteration: int, losses: dict[str, float]) -> None:  # noqa: ARG001
            progress.advance(1, ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items()))

        generator = train_generator(images, labels, synthesis, on_step)
    architecture = json.dumps(dataclasses.asdict(generator.architecture))
    save_weights(classifier, folder / CLASSIFIER_WEIGHTS, {})
    save_weights(generator, folder / GENERATOR_WEIGHTS, {"architecture": architecture})
    write_digests(folder)


def test_set() -> tuple[torch.Tensor, torch.Tensor]:
    """Return all 10,000 bundled test images with their labels, class by class."""
    dataset = FashionMnistTest()
    images = [dataset.images_of(class_id) for class_id in range(10)]
    labels = [torch.full((len(rows),), class_id) for class_id, rows in enumerate(images)]
    return torch.cat(images), torch.cat(labels)


if __name__ == "__main__":
    typer.run(main)
