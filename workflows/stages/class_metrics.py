"""Quality and diversity of a block of classes, beside the floor that real images set against themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.class_metrics.all_metrics import metrics_of_class, protocol
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
"""Among what a batch downloads."""


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of ``class_metrics``, ``class_metric_floor`` and ``class_centroids``."""
    metrics, floors, centroids = [], [], []
    for class_id in shard.class_ids:
        seen, images, unreadable = _real_images(bench, class_id)
        n = min(len(seen["correct"]), bench.spec.metric_samples)
        kept = Kept(manifold_features=n, images=bench.spec.ms_ssim_samples)
        real = _sample_of(kept, seen, images)
        fake, fake_half = fake_samples(bench, class_id, kept, limits=(None, n // 2))
        metrics.append(_metric_row(bench, class_id, real, fake) | {"unreadable": unreadable})
        halves = [_sample_of(kept, seen, images, part) for part in (slice(n // 2), slice(n // 2, 2 * (n // 2)))]
        floors += _floor_rows(bench, class_id, halves[0], halves[1], fake_half)
        means = [sample.centroid.tolist() for sample in (real, fake)]
        centroids.append({"class_id": class_id, "real_centroid": means[0], "fake_centroid": means[1]})
    return {
        "class_metrics": rows_of("class_metrics", metrics),
        "class_metric_floor": rows_of("class_metric_floor", floors),
        "class_centroids": rows_of("class_centroids", centroids),
    }


def generated_images(bench: Workbench, class_id: int) -> Iterator[Tensor]:
    """The class's generated images by the batch: float32 NCHW in [-1, 1]."""
    z = bench.latents(class_id, bench.spec.metric_samples)
    return (bench.generator(rows, class_ids_of(class_id, rows)) for rows in z.split(bench.batch_size))


@torch.inference_mode()
def fake_samples(bench: Workbench, class_id: int, kept: Kept, limits: Sequence[int | None]) -> list[ClassSample]:
    """What is kept of the class's generated images: one sample for each limit, all from one pass."""
    samplers = [ClassSampler(kept, limit) for limit in limits]
    for arrived in in_order(_downloads(bench, class_id, kept.images)):
        seen = dict(arrived)
        images = seen.pop(IMAGES)
        for sampler in samplers:
            sampler.add(seen, images)
    return [sampler.sample() for sampler in samplers]


def _downloads(bench: Workbench, class_id: int, most_images: int) -> Iterator[Download]:
    """What the networks see in each batch of generated images, and so many of the images themselves."""
    for images in generated_images(bench, class_id):
        yield Download.begin(judged(bench, class_id, images) | {IMAGES: images[:most_images]})
        most_images -= len(images[:most_images])


@torch.inference_mode()
def _real_images(bench: Workbench, class_id: int) -> tuple[dict[str, Tensor], Tensor, list[str]]:
    """What :func:`judged` says of all its real images, looked at once and cached.

    Beside it the first images, for MS-SSIM, and the names of files that are no whole picture.
    """
    seen, unreadable = real_features(bench, class_id, tuple(bench.judges))
    features = seen["evaluator"].to(bench.generator.device)
    correct = [_is_recognised(bench, class_id, rows).cpu() for rows in features.split(bench.batch_size)]
    batches = bench.real_images.batches_of(class_id, bench.batch_size)
    return seen | {"correct": torch.cat(correct)}, _first(batches, bench.spec.ms_ssim_samples), unreadable


@torch.inference_mode()
def judged(bench: Workbench, class_id: int, images: Tensor) -> dict[str, Tensor]:
    """Features by role, float32 ``[n, d]``, and ``correct``: whether the class is recognised, ``[n]``.

    All are on the device of the networks.
    """
    on_device = images.to(bench.generator.device)
    seen = {judge: judge.features(on_device).float() for judge in set(bench.judges.values())}
    features = {role: seen[network] for role, network in bench.judges.items()}
    return features | {"correct": _is_recognised(bench, class_id, seen[bench.evaluator])}


def _is_recognised(bench: Workbench, class_id: int, features: Tensor) -> Tensor:
    """Whether the evaluator's class is the right one, bool ``[n]``, from its features ``[n, d]`` on the device."""
    return bench.evaluator.logits_of_features(features).argmax(dim=1) == class_id


def _first(batches: Iterable[Tensor], count: int) -> Tensor:
    """The first images of some batches; no more batches are made than these need."""
    kept: list[Tensor] = []
    for images in batches:
        kept.append(images[: count - sum(map(len, kept))])
        if sum(map(len, kept)) == count:
            break
    return torch.cat(kept)


def _sample_of(kept: Kept, seen: dict[str, Tensor], images: Tensor, part: slice = slice(None)) -> ClassSample:
    sampler = ClassSampler(kept)
    sampler.add({role: rows[part] for role, rows in seen.items()}, images[part])
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
    """Half the reals against the other half, and as many fakes against that other half."""
    return [
        {
            "class_id": class_id,
            "comparison": comparison,
            **metrics_of_class(real=reference, fake=compared, neighbours=bench.spec.neighbours),
            "protocol": _protocol(bench),
        }
        for comparison, compared in (("real_real", first), ("fake_real", fakes))
    ]


def total_awareness(bench: Workbench, class_id: int) -> float:
    """``a_e = Σ |E_z[t]|`` over all channels of all sites that reach the image (sec. 5.4)."""
    total = 0.0
    for site in bench.generator.sites:
        awareness = class_awareness(bench, (class_id,), site.index).category_awareness[0]
        total += float(np.nansum(np.abs(np.delete(awareness, list(site.inert_channels)))))
    return total


def _protocol(bench: Workbench) -> str:
    judges = {role: f"{one.protocol}; weights {one.digest[:12]}" for role, one in bench.judges.items()}
    made = protocol(judges, bench.spec.neighbours, bench.generator.image_size, bench.spec.ms_ssim_samples)
    return f"{made}; {bench.arithmetic_name}"


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """One pass a generated image, and about as much for its neighbours."""
    return 2.0 * bench.spec.metric_samples


CLASS_METRICS = Stage("class_metrics", by_site=False, classes_per_shard=1, passes=passes, process=process)
