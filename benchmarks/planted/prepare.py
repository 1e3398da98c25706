"""Writes everything that an audit of the planted generator needs into one folder."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.planted.evaluator import RandomFeatureClassifier
from benchmarks.planted.faults import Faults, with_faults
from benchmarks.planted.generator import PlantedBigGAN, generator_of, healthy_tensors

REAL_SEED, FITTED_SEED = 1_000_001, 1_000_002
"""Seeds of the latents of the real images, and of the images that the evaluator is fitted to."""
FITTED_IMAGES = 40
"""Images per class that the evaluator is fitted to."""
PIXEL_NOISE = 0.03
"""Standard deviation of the noise of real images, of pixels in [-1, 1]."""
OPTIONS = {
    "awareness_samples": 200,
    "monte_carlo_classes": 20,
    "masking_latents": 6,
    "masking_estimator": "exact",
    "masking_group_size": 4,
    "control_latents": 2,
    "control_repeats": 1,
    "metric_samples": 60,
    "ms_ssim_samples": 10,
    "edit_candidates": 8,
    "edit_tried_latents": 2,
    "edit_scored_latents": 4,
    "hybrid_tried_latents": 2,
    "hybrid_scored_latents": 4,
    "segmentation_clusters": [3],
    "segmentation_sites": [4],
    "segmentation_fitted_latents": 8,
    "overlap_k": [5, 20],
    "shared_k": [1, 2, 5, 10],
    "permutations": 200,
    "bootstraps": 500,
}
"""Options of the audit: small samples, since there are many classes."""


def main(arguments: Sequence[str]) -> int:
    """Write the folder and print the commands that use it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks planted",
        description="Write a generator with planted faults, its evaluator, real images and the options of an audit.",
    )
    parser.add_argument("folder", type=Path, help="Folder to write; it must not exist yet.")
    parser.add_argument("--classes", type=int, default=100, help="Number of classes; default %(default)s.")
    parser.add_argument("--real-images", type=int, default=40, help="Real images per class; default %(default)s.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the weights and faults; default %(default)s.")
    options = parser.parse_args(arguments)
    if options.folder.exists():
        parser.error(f"folder must not exist yet; got {options.folder}")
    prepare(options.folder, options.classes, options.real_images, options.seed)
    for name in ("audit", "later"):
        print(f"cawa audit --spec {options.folder / name}.toml")
    return 0


def prepare(folder: Path, n_classes: int, n_real: int, seed: int) -> Faults:
    """Write weights, evaluator, real images, options and the list of the faults."""
    folder.mkdir(parents=True)
    faults = Faults.drawn(n_classes, seed)
    tensors = healthy_tensors(n_classes, seed)
    healthy = generator_of(tensors)
    for name, is_later in (("generator", False), ("later", True)):
        embedding = with_faults(tensors["shared.weight"], faults, seed, later=is_later)
        save_file(tensors | {"shared.weight": embedding}, folder / f"{name}.safetensors")
    evaluator = fitted_evaluator(healthy)
    save_file(dict(evaluator.state_dict()), folder / "evaluator.safetensors")
    write_real_images(healthy, folder / "real", n_real, seed)
    (folder / "audit.toml").write_text(options_of(folder, "generator"), encoding="utf-8")
    (folder / "later.toml").write_text(
        options_of(folder, "later", stages=["gallery", "class_metrics"]), encoding="utf-8"
    )
    names = healthy.class_names
    content = {
        "classes": dataclasses.asdict(faults),
        "names": {class_id: names[class_id] for class_id in np.hstack([*dataclasses.asdict(faults).values()]).tolist()},
    }
    (folder / "faults.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return faults


def options_of(folder: Path, weights: str, **options: list[str]) -> str:
    """Return the options of an audit as TOML."""
    generator, evaluator = (f"benchmarks.planted.{name}:factory" for name in ("generator", "evaluator"))
    folder = folder.absolute()
    values = {
        "generator": generator,
        "evaluator": evaluator,
        "weights": [f"{folder}/{weights}.safetensors", f"{evaluator}={folder}/evaluator.safetensors"],
        "real_images": f"{folder}/real",
        "output": f"{folder}/audit-{weights}",
        **OPTIONS,
        **options,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@torch.inference_mode()
def class_images(generator: PlantedBigGAN, seed: int, count: int) -> Iterator[Tensor]:
    """Yield images of each class in turn, ``[count, 3, 32, 32]`` in [-1, 1]."""
    for class_id in range(generator.n_classes):
        z = generator.sample_latents(seed, class_id, range(count))
        yield generator(z, torch.full((count,), class_id))


@torch.inference_mode()
def fitted_evaluator(healthy: PlantedBigGAN) -> RandomFeatureClassifier:
    """Fit the evaluator to images of the healthy generator that nothing else uses."""
    evaluator = RandomFeatureClassifier(healthy.n_classes)
    features = torch.cat([evaluator.features(images) for images in class_images(healthy, FITTED_SEED, FITTED_IMAGES)])
    evaluator.fit(features, torch.arange(healthy.n_classes).repeat_interleave(FITTED_IMAGES))
    return evaluator


def write_real_images(healthy: PlantedBigGAN, folder: Path, count: int, seed: int) -> None:
    """Write the real images as PNG, one folder per class, named by its WordNet id."""
    random = torch.Generator().manual_seed(seed)
    for wordnet_id, images in zip(healthy.classes.wordnet_ids, class_images(healthy, REAL_SEED, count), strict=True):
        noisy = images + PIXEL_NOISE * torch.randn(images.shape, generator=random)
        pixels = ((noisy.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        (folder / wordnet_id).mkdir(parents=True)
        for index, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / wordnet_id / f"{index:04d}.png", compress_level=1)
