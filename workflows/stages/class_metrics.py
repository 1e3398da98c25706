"""Quality and diversity of a block of classes, beside the floor that real images set against themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.class_metrics.all_metrics import ImageSet, metrics_of_class, protocol
from cawa_core.masking.engine import class_ids_of
from cawa_core.tables import Rows
from workflows.shards import Shard
from workflows.stages.awareness import class_awareness
from workflows.stages.base import Stage
from workflows.workbench import Workbench


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of ``class_metrics``, ``class_metric_floor`` and ``class_centroids``."""
    metrics, floors, centroids = [], [], []
    for class_id in shard.class_ids:
        real = image_set(bench, class_id, bench.real_images.images_of(class_id))
        fake = image_set(bench, class_id, generated_images(bench, class_id))
        metrics.append(_metric_row(bench, class_id, real, fake))
        floors += _floor_rows(bench, class_id, real, fake)
        means = [features.double().mean(dim=0).tolist() for features in (real.features, fake.features)]
        centroids.append({"class_id": class_id, "real_centroid": means[0], "fake_centroid": means[1]})
    return {
        "class_metrics": _columns(metrics),
        "class_metric_floor": _columns(floors),
        "class_centroids": _columns(centroids),
    }


@torch.inference_mode()
def generated_images(bench: Workbench, class_id: int) -> Tensor:
    """The class's generated images, on the CPU: float32 NCHW in [-1, 1]."""
    z = bench.latents(class_id, bench.spec.metric_samples)
    return torch.cat([bench.generator(rows, class_ids_of(class_id, rows)).cpu() for rows in z.split(bench.batch_size)])


@torch.inference_mode()
def image_set(bench: Workbench, class_id: int, images: Tensor) -> ImageSet:
    """Features and classifications of images NCHW; the first ones serve for MS-SSIM."""
    features = torch.cat([bench.evaluator.features(batch).cpu() for batch in bench.batches(images)])
    logits = [bench.evaluator.logits_of_features(batch).cpu() for batch in bench.batches(features)]
    correct = torch.cat(logits).argmax(dim=1) == class_id
    return ImageSet(features, correct, images[: bench.spec.ms_ssim_samples])


def _metric_row(bench: Workbench, class_id: int, real: ImageSet, fake: ImageSet) -> dict[str, Any]:
    return {
        "class_id": class_id,
        "class_name": bench.generator.class_names[class_id],
        "total_awareness": total_awareness(bench, class_id),
        **metrics_of_class(real=real, fake=fake, neighbours=bench.spec.neighbours),
        "protocol": _protocol(bench, len(fake.images)),
    }


def _floor_rows(bench: Workbench, class_id: int, real: ImageSet, fake: ImageSet) -> list[dict[str, Any]]:
    """Half the reals against the other half, and as many fakes against that other half."""
    half = min(len(real.features), len(fake.features)) // 2
    reference, first, fakes = real.rows(slice(half, 2 * half)), real.rows(slice(half)), fake.rows(slice(half))
    return [
        {
            "class_id": class_id,
            "comparison": comparison,
            **metrics_of_class(real=reference, fake=compared, neighbours=bench.spec.neighbours),
            "protocol": _protocol(bench, len(compared.images)),
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


def _protocol(bench: Workbench, ms_ssim_samples: int) -> str:
    return protocol(bench.evaluator.protocol, bench.spec.neighbours, bench.generator.image_size, ms_ssim_samples)


def _columns(rows: list[dict[str, Any]]) -> Rows:
    return {name: [row[name] for row in rows] for name in rows[0]}


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """One pass a generated image, and about as much for its neighbours."""
    return 2.0 * bench.spec.metric_samples


CLASS_METRICS = Stage("class_metrics", by_site=False, classes_per_shard=1, passes=passes, process=process)
