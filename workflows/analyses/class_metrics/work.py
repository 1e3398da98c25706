"""Quality and diversity of a block of classes, with the floor that real images reach against real images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.class_metrics.class_pair import metrics_of_class, protocol
from cawa_core.class_metrics.class_sample import ClassSample, ClassSampler, Kept
from cawa_core.class_metrics.ms_ssim import WINDOW
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.numerics.transfers import Download, in_order
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.class_metrics import (
    CLASS_CENTROIDS_TABLE,
    CLASS_CONFUSION_TABLE,
    CLASS_METRIC_FLOOR_TABLE,
    CLASS_METRICS,
    CLASS_METRICS_TABLE,
    ClassMetricOptions,
)
from workflows.interface import Cost, Output, Unit, Work
from workflows.lab import Lab
from workflows.lab.real_check import require_real_images
from workflows.planning.shards import Shard

IMAGES = "images"
"""Key of the images in a batch's download."""


class ClassMetricsWork(Work[ClassMetricOptions]):
    """Computation of the tables of the analysis ``class_metrics``."""

    def check_options(self, options: ClassMetricOptions) -> None:
        """Check that halves of the samples have neighbours."""
        if options.neighbours >= options.metric_samples // 2:
            raise InputError(
                f"neighbours must be below half of metric_samples={options.metric_samples}; got {options.neighbours}"
            )

    def check(self, lab: Lab, options: ClassMetricOptions) -> None:
        """Check that pictures are large enough for MS-SSIM, and that there are enough real images."""
        if lab.generator.image_size < WINDOW:
            raise InputError(
                f"{lab.generator.name} must make images of {WINDOW} pixels at least for MS-SSIM; got "
                f"{lab.generator.image_size}: leave {CLASS_METRICS.name} out of --stages"
            )
        require_real_images(lab, options.neighbours)

    def run(self, lab: Lab, options: ClassMetricOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Compute the rows of some classes."""
        metrics = []
        floors = []
        centroids = []
        confusion: list[dict[str, Any]] = []
        for class_id in shard.class_ids:
            features, images, unreadable = _real_images(lab, options, class_id)
            n = min(len(features["predicted"]), options.metric_samples)
            sizes = Kept(manifold_features=n, images=options.ms_ssim_samples)
            real = _sample_of(class_id, sizes, features, images)
            fake, fake_half = fake_samples(lab, options, class_id, sizes, limits=(None, n // 2))
            metrics.append(_metric_row(lab, options, class_id, real, fake) | {"unreadable": unreadable})
            confusion += _confusion_rows(lab, real, fake)
            half = n // 2
            first_half = _sample_of(class_id, sizes, features, images, slice(half))
            second_half = _sample_of(class_id, sizes, features, images, slice(half, 2 * half))
            floors += _floor_rows(lab, options, class_id, first_half, second_half, fake_half)
            centroids.append(
                {
                    "class_id": class_id,
                    "real_centroid": real.centroid.tolist(),
                    "fake_centroid": fake.centroid.tolist(),
                }
            )
        rows = {
            CLASS_METRICS_TABLE.name: metrics,
            CLASS_METRIC_FLOOR_TABLE.name: floors,
            CLASS_CENTROIDS_TABLE.name: centroids,
            CLASS_CONFUSION_TABLE.name: confusion,
        }
        return Output({name: rows_of(name, records) for name, records in rows.items()})

    def cost(self, lab: Lab, options: ClassMetricOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: one pass per generated image, and about as much for its neighbours."""
        return Cost(2.0 * options.metric_samples, 1)


def generated_images(lab: Lab, options: ClassMetricOptions, class_id: int) -> Iterator[Tensor]:
    """Generate the images of a class in batches: float32 NCHW in [-1, 1]."""
    z = lab.latents(class_id, options.metric_samples)
    return (lab.generator(rows, class_ids_of(class_id, rows)) for rows in z.split(lab.batch_size))


@torch.inference_mode()
def fake_samples(
    lab: Lab, options: ClassMetricOptions, class_id: int, sizes: Kept, limits: Sequence[int | None]
) -> list[ClassSample]:
    """Summarise the generated images of a class: one sample per limit, all from one pass over the images."""
    samplers = [ClassSampler(class_id, sizes, limit) for limit in limits]
    for batch in in_order(_downloads(lab, options, class_id, sizes.images)):
        features = dict(batch)
        images = features.pop(IMAGES)
        for sampler in samplers:
            sampler.add(features, images)
    return [sampler.sample() for sampler in samplers]


def _downloads(lab: Lab, options: ClassMetricOptions, class_id: int, most_images: int) -> Iterator[Download]:
    """Download the features of each batch of generated images, and the first ``most_images`` images themselves."""
    for images in generated_images(lab, options, class_id):
        yield Download.begin(judged(lab, images) | {IMAGES: images[:most_images]})
        most_images -= len(images[:most_images])


@torch.inference_mode()
def _real_images(lab: Lab, options: ClassMetricOptions, class_id: int) -> tuple[dict[str, Tensor], Tensor, list[str]]:
    """Return the features of all real images of a class as :func:`judged` does, computed once and cached.

    Also returns the first images, for MS-SSIM, and the names of files that cannot be decoded.
    """
    by_role, unreadable = lab.real_features(class_id, tuple(lab.networks))
    features = by_role["evaluator"].to(lab.generator.device)
    predicted = [_predicted(lab, rows).cpu() for rows in features.split(lab.batch_size)]
    batches = lab.real_images.batches_of(class_id, lab.batch_size)
    return by_role | {"predicted": torch.cat(predicted)}, _first(batches, options.ms_ssim_samples), unreadable


@torch.inference_mode()
def judged(lab: Lab, images: Tensor) -> dict[str, Tensor]:
    """Return features by role, float32 ``[n, d]``, and ``predicted``: the evaluator's class, int64 ``[n]``.

    All tensors are on the device of the networks.
    """
    on_device = images.to(lab.generator.device)
    by_network = {network: network.features(on_device).float() for network in set(lab.networks.values())}
    features = {role: by_network[network] for role, network in lab.networks.items()}
    return features | {"predicted": _predicted(lab, by_network[lab.evaluator])}


def _predicted(lab: Lab, features: Tensor) -> Tensor:
    """Return the class that the evaluator picks, int64 ``[n]``, from its features ``[n, d]`` on the device."""
    return lab.evaluator.logits_of_features(features).argmax(dim=1)


def _first(batches: Iterable[Tensor], count: int) -> Tensor:
    """Return the first ``count`` images of some batches, without making more batches than that takes."""
    parts: list[Tensor] = []
    for images in batches:
        parts.append(images[: count - sum(map(len, parts))])
        if sum(map(len, parts)) == count:
            break
    return torch.cat(parts)


def _sample_of(
    class_id: int, sizes: Kept, features: dict[str, Tensor], images: Tensor, part: slice = slice(None)
) -> ClassSample:
    sampler = ClassSampler(class_id, sizes)
    sampler.add({role: rows[part] for role, rows in features.items()}, images[part])
    return sampler.sample()


def _metric_row(
    lab: Lab, options: ClassMetricOptions, class_id: int, real: ClassSample, fake: ClassSample
) -> dict[str, Any]:
    return {
        "class_id": class_id,
        "class_name": lab.generator.class_names[class_id],
        "total_awareness": total_awareness(lab, class_id),
        **metrics_of_class(real=real, fake=fake, neighbours=options.neighbours),
        "protocol": _protocol(lab, options),
    }


def _confusion_rows(lab: Lab, real: ClassSample, fake: ClassSample) -> list[dict[str, Any]]:
    """Count the images of a class by the class that the evaluator assigns them to."""
    return [
        {
            "class_id": fake.class_id,
            "predicted_class": predicted,
            "predicted_name": lab.generator.class_names[predicted],
            "n_fake": fake.predictions.get(predicted, 0),
            "n_real": real.predictions.get(predicted, 0),
        }
        for predicted in sorted(fake.predictions.keys() | real.predictions.keys())
    ]


def _floor_rows(
    lab: Lab, options: ClassMetricOptions, class_id: int, first: ClassSample, reference: ClassSample, fakes: ClassSample
) -> list[dict[str, Any]]:
    """Compare half of the real images with the other half, and as many generated images with that other half."""
    return [
        {
            "class_id": class_id,
            "comparison": comparison,
            **metrics_of_class(real=reference, fake=sample, neighbours=options.neighbours),
            "protocol": _protocol(lab, options),
        }
        for comparison, sample in (("real_real", first), ("fake_real", fakes))
    ]


def total_awareness(lab: Lab, class_id: int) -> float:
    """Return ``a_e = Σ |E_z[t]|`` over all channels of all sites that reach the image (sec. 5.4)."""
    total = 0.0
    for site in lab.generator.sites:
        awareness = lab.class_awareness((class_id,), site.index).category_awareness[0]
        total += float(np.nansum(np.abs(np.delete(awareness, list(site.inert_channels)))))
    return total


def _protocol(lab: Lab, options: ClassMetricOptions) -> str:
    networks = {role: f"{network.protocol}; weights {network.digest[:12]}" for role, network in lab.networks.items()}
    metrics = protocol(networks, options.neighbours, lab.generator.image_size, options.ms_ssim_samples)
    return f"{metrics}; {lab.arithmetic_name}"
