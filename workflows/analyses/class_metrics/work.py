"""Quality and diversity of a block of classes, with the floor that real images reach against real images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.class_metrics.class_pair import metrics_of_class, protocol
from cawa_core.class_metrics.class_sample import ClassSample, ClassSampler, Kept
from cawa_core.generators.base import class_ids_of
from cawa_core.tables import Rows, rows_of
from cawa_core.transfers import Download, in_order
from workflows.real_features import real_features
from workflows.shards import Shard
from workflows.stages.awareness import class_awareness
from workflows.stages.base import Stage
from workflows.workbench import Workbench

IMAGES = "images"
"""Key of the images in a batch's download."""


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of ``class_metrics``, ``class_metric_floor`` and ``class_centroids``."""
    metrics = []
    floors = []
    centroids = []
    for class_id in shard.class_ids:
        features, images, unreadable = _real_images(bench, class_id)
        n = min(len(features["correct"]), bench.spec.metric_samples)
        sizes = Kept(manifold_features=n, images=bench.spec.ms_ssim_samples)
        real = _sample_of(sizes, features, images)
        fake, fake_half = fake_samples(bench, class_id, sizes, limits=(None, n // 2))
        metrics.append(_metric_row(bench, class_id, real, fake) | {"unreadable": unreadable})
        half = n // 2
        first_half = _sample_of(sizes, features, images, slice(half))
        second_half = _sample_of(sizes, features, images, slice(half, 2 * half))
        floors += _floor_rows(bench, class_id, first_half, second_half, fake_half)
        centroids.append(
            {
                "class_id": class_id,
                "real_centroid": real.centroid.tolist(),
                "fake_centroid": fake.centroid.tolist(),
            }
        )
    return {
        "class_metrics": rows_of("class_metrics", metrics),
        "class_metric_floor": rows_of("class_metric_floor", floors),
        "class_centroids": rows_of("class_centroids", centroids),
    }


def generated_images(bench: Workbench, class_id: int) -> Iterator[Tensor]:
    """Generate the images of a class in batches: float32 NCHW in [-1, 1]."""
    z = bench.latents(class_id, bench.spec.metric_samples)
    return (bench.generator(rows, class_ids_of(class_id, rows)) for rows in z.split(bench.batch_size))


@torch.inference_mode()
def fake_samples(bench: Workbench, class_id: int, sizes: Kept, limits: Sequence[int | None]) -> list[ClassSample]:
    """Summarise the generated images of a class: one sample per limit, all from one pass over the images."""
    samplers = [ClassSampler(sizes, limit) for limit in limits]
    for batch in in_order(_downloads(bench, class_id, sizes.images)):
        features = dict(batch)
        images = features.pop(IMAGES)
        for sampler in samplers:
            sampler.add(features, images)
    return [sampler.sample() for sampler in samplers]


def _downloads(bench: Workbench, class_id: int, most_images: int) -> Iterator[Download]:
    """Download the features of each batch of generated images, and the first ``most_images`` images themselves."""
    for images in generated_images(bench, class_id):
        yield Download.begin(judged(bench, class_id, images) | {IMAGES: images[:most_images]})
        most_images -= len(images[:most_images])


@torch.inference_mode()
def _real_images(bench: Workbench, class_id: int) -> tuple[dict[str, Tensor], Tensor, list[str]]:
    """Return the features of all real images of a class as :func:`judged` does, computed once and cached.

    Also returns the first images, for MS-SSIM, and the names of files that cannot be decoded.
    """
    by_role, unreadable = real_features(bench, class_id, tuple(bench.judges))
    features = by_role["evaluator"].to(bench.generator.device)
    correct = [_is_recognised(bench, class_id, rows).cpu() for rows in features.split(bench.batch_size)]
    batches = bench.real_images.batches_of(class_id, bench.batch_size)
    return by_role | {"correct": torch.cat(correct)}, _first(batches, bench.spec.ms_ssim_samples), unreadable


@torch.inference_mode()
def judged(bench: Workbench, class_id: int, images: Tensor) -> dict[str, Tensor]:
    """Return features by role, float32 ``[n, d]``, and ``correct``: whether the class is recognised, bool ``[n]``.

    All tensors are on the device of the networks.
    """
    on_device = images.to(bench.generator.device)
    by_network = {network: network.features(on_device).float() for network in set(bench.judges.values())}
    features = {role: by_network[network] for role, network in bench.judges.items()}
    return features | {"correct": _is_recognised(bench, class_id, by_network[bench.evaluator])}


def _is_recognised(bench: Workbench, class_id: int, features: Tensor) -> Tensor:
    """Return whether the evaluator picks the class, bool ``[n]``, from its features ``[n, d]`` on the device."""
    return bench.evaluator.logits_of_features(features).argmax(dim=1) == class_id


def _first(batches: Iterable[Tensor], count: int) -> Tensor:
    """Return the first ``count`` images of some batches, without making more batches than that takes."""
    parts: list[Tensor] = []
    for images in batches:
        parts.append(images[: count - sum(map(len, parts))])
        if sum(map(len, parts)) == count:
            break
    return torch.cat(parts)


def _sample_of(sizes: Kept, features: dict[str, Tensor], images: Tensor, part: slice = slice(None)) -> ClassSample:
    sampler = ClassSampler(sizes)
    sampler.add({role: rows[part] for role, rows in features.items()}, images[part])
    return sampler.sample()


def _metric_row(bench: Workbench, class_id: int, real: ClassSample, fake: ClassSample) -> dict[str, Any]:
    return {
        "class_id": class_id,
        "class_name": bench.generator.class_names[class_id],
        "total_awareness": total_awareness(bench, class_id),
        **metrics_of_class(real=real, fake=fake, neighbours=bench.spec.neighbours),
        "protocol": _protocol(bench),
    }


def _floor_rows(
    bench: Workbench, class_id: int, first: ClassSample, reference: ClassSample, fakes: ClassSample
) -> list[dict[str, Any]]:
    """Compare half of the real images with the other half, and as many generated images with that other half."""
    return [
        {
            "class_id": class_id,
            "comparison": comparison,
            **metrics_of_class(real=reference, fake=sample, neighbours=bench.spec.neighbours),
            "protocol": _protocol(bench),
        }
        for comparison, sample in (("real_real", first), ("fake_real", fakes))
    ]


def total_awareness(bench: Workbench, class_id: int) -> float:
    """Return ``a_e = Σ |E_z[t]|`` over all channels of all sites that reach the image (sec. 5.4)."""
    total = 0.0
    for site in bench.generator.sites:
        awareness = class_awareness(bench, (class_id,), site.index).category_awareness[0]
        total += float(np.nansum(np.abs(np.delete(awareness, list(site.inert_channels)))))
    return total


def _protocol(bench: Workbench) -> str:
    networks = {role: f"{network.protocol}; weights {network.digest[:12]}" for role, network in bench.judges.items()}
    metrics = protocol(networks, bench.spec.neighbours, bench.generator.image_size, bench.spec.ms_ssim_samples)
    return f"{metrics}; {bench.arithmetic_name}"


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """Estimate the work: one pass per generated image, and about as much for its neighbours."""
    return 2.0 * bench.spec.metric_samples


CLASS_METRICS = Stage("class_metrics", by_site=False, classes_per_shard=1, passes=passes, process=process)
