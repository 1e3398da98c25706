"""Quality and diversity of a block of classes, beside the floor that real images set against themselves."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core import SCHEMA_VERSION
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
        (real, unreadable), fake = real_images(bench, class_id), fake_images(bench, class_id)
        metrics.append(_metric_row(bench, class_id, real, fake) | {"unreadable": unreadable})
        floors += _floor_rows(bench, class_id, real, fake)
        means = [features.double().mean(dim=0).tolist() for features in (real.features, fake.features)]
        centroids.append({"class_id": class_id, "real_centroid": means[0], "fake_centroid": means[1]})
    return {
        "class_metrics": _columns(metrics),
        "class_metric_floor": _columns(floors),
        "class_centroids": _columns(centroids),
    }


def generated_images(bench: Workbench, class_id: int) -> Iterator[Tensor]:
    """The class's generated images by the batch: float32 NCHW in [-1, 1]."""
    z = bench.latents(class_id, bench.spec.metric_samples)
    return (bench.generator(rows, class_ids_of(class_id, rows)) for rows in z.split(bench.batch_size))


def fake_images(bench: Workbench, class_id: int) -> ImageSet:
    """What the metrics see of the class's generated images."""
    kept: list[Tensor] = []
    judged = judge(bench, class_id, _keeping(generated_images(bench, class_id), kept, bench.spec.ms_ssim_samples))
    return _image_set(judged, torch.cat(kept))


def real_images(bench: Workbench, class_id: int) -> tuple[ImageSet, list[str]]:
    """The same of its real images, judged once and cached; and names of files that are no whole picture."""
    batches = functools.partial(bench.real_images.batches_of, class_id, bench.batch_size)

    def compute() -> dict[str, Tensor]:
        judged = judge(bench, class_id, batches())
        names = json.dumps(bench.real_images.unreadable_of(class_id))  # in ASCII, whatever is in a file's name
        return {**judged, "unreadable": torch.tensor(list(names.encode()), dtype=torch.uint8)}

    own_code = any(":" in getattr(bench.spec, role) for role in bench.judges)  # which no digest knows
    judged = compute() if own_code else bench.feature_cache.features(_cache_key(bench, class_id), compute)
    unreadable: list[str] = json.loads(bytes(judged["unreadable"].tolist()))
    return _image_set(judged, _first(batches(), bench.spec.ms_ssim_samples)), unreadable


@torch.inference_mode()
def judge(bench: Workbench, class_id: int, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Features by role, float32 ``[n, d]`` on the CPU, and ``correct``: whether the class is recognised, ``[n]``."""
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for images in batches:
        on_device = images.to(bench.generator.device)
        seen = {judge: judge.features(on_device).float() for judge in set(bench.judges.values())}
        for role, network in bench.judges.items():
            parts[role].append(seen[network].cpu())
        logits = bench.evaluator.logits_of_features(seen[bench.evaluator])
        parts["correct"].append((logits.argmax(dim=1) == class_id).cpu())
    return {name: torch.cat(part) for name, part in parts.items()}


def _keeping(batches: Iterable[Tensor], kept: list[Tensor], count: int) -> Iterator[Tensor]:
    """Pass batches on, and keep the first images of them on the CPU."""
    for images in batches:
        missing = count - sum(map(len, kept))
        if missing > 0:
            kept.append(images[:missing].cpu())
        yield images


def _first(batches: Iterable[Tensor], count: int) -> Tensor:
    kept: list[Tensor] = []
    for _ in _keeping(batches, kept, count):
        if sum(map(len, kept)) == count:
            break
    return torch.cat(kept)


def _image_set(judged: dict[str, Tensor], images: Tensor) -> ImageSet:
    return ImageSet(
        features=judged["evaluator"],
        fid_features=judged["fid_features"],
        manifold_features=judged["manifold_features"],
        correct=judged["correct"],
        images=images,
    )


def _cache_key(bench: Workbench, class_id: int) -> dict[str, str | int]:
    """All that enters what the judges see of a class's real images."""
    identity = bench.identity
    judges = {role: f"{identity.digests[role]} {identity.protocols[role]}" for role in bench.judges}
    images = {"images": bench.real_images.class_digest(class_id), "class_id": class_id}
    kept = {"schema_version": SCHEMA_VERSION, "dtype": bench.spec.dtype, "device": bench.generator.device.type}
    return {**judges, **images, **kept}


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
    return protocol(bench.identity.protocols, bench.spec.neighbours, bench.generator.image_size, ms_ssim_samples)


def _columns(rows: list[dict[str, Any]]) -> Rows:
    return {name: [row[name] for row in rows] for name in rows[0]}


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """One pass a generated image, and about as much for its neighbours."""
    return 2.0 * bench.spec.metric_samples


CLASS_METRICS = Stage("class_metrics", by_site=False, classes_per_shard=1, passes=passes, process=process)
