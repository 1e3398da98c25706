"""Figures that tell whether the models of ``scenes`` are good enough, measured on pictures that no training saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.evaluators.small_cnn import SmallClassifier
from cawa_core.generators.small_biggan.network import SmallBigGANNetwork
from cawa_core.rendering.pixels import as_bytes, as_floats
from cawa_core.storage import write_atomically
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES, LABEL_COLOURS, LABELS
from workflows.reference.sheets import write_sheet
from workflows.reference.supervised_training import accuracy, predictions
from workflows.reference.training_data import ScenesData

LATENT_SEED = 3
PICTURES_PER_ROW = 12


class ScenesQuality:
    """Measures models as they are finished, and keeps all figures in one JSON file.

    Args:
        fresh: pictures of all classes in turn that no training has seen.
        folder: folder of the figures and sheets.
    """

    def __init__(self, fresh: ScenesData, folder: Path) -> None:
        self.fresh = fresh
        self.folder = folder
        self.figures: dict[str, Any] = {"n_fresh": len(fresh.images)}

    def record(self, name: str, figures: Any) -> None:  # noqa: ANN401
        """Set figures by name and write the file."""
        self.figures[name] = figures
        write_atomically(self.folder / "scenes_quality.json", (json.dumps(self.figures, indent=1) + "\n").encode())

    def write_world_sheet(self) -> None:
        """Write a sheet of the world: six pictures per class, and their label maps beside them."""
        half = PICTURES_PER_ROW // 2
        colours = torch.tensor(LABEL_COLOURS, dtype=torch.uint8)
        pictures = _by_class(self.fresh.images.permute(0, 2, 3, 1))[:, :half]
        maps = _by_class(colours[self.fresh.labels.long()])[:, :half]
        write_sheet(self.folder / "scenes_world.png", torch.cat([pictures, maps], dim=1).numpy())

    def measure_classifier(self, network: nn.Module) -> str:
        """Measure the accuracy on fresh pictures; return a line that says so."""
        share = accuracy(network, self.fresh.images, self.fresh.classes)
        self.record("classifier_accuracy", share)
        return f"scenes-cnn: accuracy {share:.4f} on {len(self.fresh.images)} fresh pictures (needed: 0.97)"

    def measure_segmenter(self, network: nn.Module) -> str:
        """Measure intersection over union of each label on fresh pictures; return a line that says so."""
        predicted = predictions(network, self.fresh.images)
        truth = self.fresh.labels.long()
        overlaps = {}
        for label, name in enumerate(LABELS):
            either = ((predicted == label) | (truth == label)).sum()
            overlaps[name] = float(((predicted == label) & (truth == label)).sum() / either) if either else None
        known = [value for value in overlaps.values() if value is not None]
        mean = sum(known) / len(known)
        self.record("segmenter", {"mean_iou": mean, "iou": overlaps})
        worst = min(known)
        return f"scenes-segmenter: mean IoU {mean:.4f}, worst label {worst:.3f} on fresh pictures (needed: 0.90)"

    def measure_generator(
        self, network: SmallBigGANNetwork, classifier: SmallClassifier, segmenter: nn.Module, iteration: int
    ) -> str:
        """Measure generated pictures and write a sheet of them; return a line that sums the figures up."""
        half = len(self.fresh.images) // 2 // len(CLASS_NAMES) * len(CLASS_NAMES)
        images = generated(network, half)
        agreement = _by_class((predictions(classifier, images) == self.fresh.classes[:half]).double()).mean(dim=1)
        areas = self._areas(predictions(segmenter, images))
        features = _features(classifier, images)
        real, other_real = (_features(classifier, part) for part in self.fresh.images[: 2 * half].split(half))
        distance = frechet_distance(real=real, fake=features)
        noise = frechet_distance(real=real, fake=other_real)
        figures = {
            "iterations": iteration,
            "n_generated": half,
            "agreement_mean": float(agreement.mean()),
            "agreement_min": float(agreement.min()),
            "agreement": dict(zip(CLASS_NAMES, agreement.tolist(), strict=True)),
            "areas": areas,
            "frechet_generated_real": distance,
            "frechet_real_real": noise,
        }
        self.record("generator", figures)
        rows = _by_class(as_bytes(images).permute(0, 2, 3, 1))[:, :PICTURES_PER_ROW]
        write_sheet(self.folder / "scenes_generated.png", rows.numpy())
        largest = sorted(areas.values(), key=lambda area: -area["world"])[:6]
        deviation = max(abs(area["ratio"] - 1) for area in largest)
        return (
            f"scenes-biggan at {iteration}: agreement {agreement.mean():.3f} (needed: 0.90), "
            f"least of a class {agreement.min():.2f} (needed: 0.70), areas of the six largest labels off by at most "
            f"{deviation:.0%} (needed: 20%), Fréchet distance {distance:.3g} (real against real: {noise:.3g})"
        )

    def _areas(self, predicted: Tensor) -> dict[str, dict[str, float]]:
        """Return the share of pixels by label, in the world and in generated pictures, and their ratio."""
        areas = {}
        for label, name in enumerate(LABELS):
            world = float((self.fresh.labels == label).double().mean())
            generated_share = float((predicted == label).double().mean())
            areas[name] = {
                "world": world,
                "generated": generated_share,
                "ratio": generated_share / world if world else 0.0,
            }
        return areas


@torch.inference_mode()
def generated(network: SmallBigGANNetwork, n_pictures: int, size: int = 300) -> Tensor:
    """Generate pictures of all classes in turn, float32 ``[n, 3, 32, 32]`` in [-1, 1] on the CPU."""
    random = torch.Generator().manual_seed(LATENT_SEED)
    device = network.linear.weight.device
    z = torch.randn(n_pictures, network.architecture.z_dim, generator=random)
    classes = torch.arange(n_pictures) % network.architecture.n_classes
    batches = zip(z.split(size), classes.split(size), strict=True)
    return torch.cat([network(rows.to(device), ids.to(device)).cpu() for rows, ids in batches])


@torch.inference_mode()
def _features(classifier: SmallClassifier, images: Tensor, size: int = 500) -> Tensor:
    device = next(classifier.parameters()).device
    floats = as_floats(images) if images.dtype == torch.uint8 else images
    return torch.cat([classifier.features(batch.to(device)).cpu() for batch in floats.split(size)])


def _by_class(values: Tensor) -> Tensor:
    """Reorder values of pictures of all classes in turn: ``[n, …]`` => ``[classes, n / classes, …]``."""
    return values.unflatten(0, (-1, len(CLASS_NAMES))).transpose(0, 1)  # type: ignore[no-any-return]
