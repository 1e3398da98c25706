"""Pictures for the report: samples of each class, and the same with low, random or high channels masked."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import SiteMasks, masks_at, run
from cawa_core.rendering.grids import to_png
from cawa_core.tables import Rows, rows_of
from workflows.pictures import scored_pictures
from workflows.shards import Shard
from workflows.stages.base import Stage
from workflows.stages.masking import site_controls
from workflows.workbench import Workbench

PICTURES = 12
"""Samples per class."""
MASKED_PICTURES = 4
"""Samples per class that are also shown masked."""


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of the ``gallery`` table; kind is ``sample`` or the mask applied at all sites."""
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        controls = {site.index: site_controls(bench, class_id, site.index) for site in bench.generator.sites}
        z = bench.latents(class_id, PICTURES)
        rows += _picture_rows(bench, class_id, "sample", z, {})
        for kind in ("lowest", "random", "highest"):
            masks = {site: masks[kind][0] for site, masks in controls.items()}
            rows += _picture_rows(bench, class_id, kind, z[:MASKED_PICTURES], masks)
    return {"gallery": rows_of("gallery", rows)}


def _picture_rows(bench: Workbench, class_id: int, kind: str, z: Tensor, masks: SiteMasks) -> list[dict[str, Any]]:
    images, scores = scored_pictures(
        bench, class_id, z, lambda rows: run(bench.generator, rows, class_ids_of(class_id, rows), masks_at(masks))
    )
    return [
        {"class_id": class_id, "kind": kind, "index": index, "score": score, "png": to_png(image)}
        for index, (image, score) in enumerate(zip(images, scores.tolist(), strict=True))
    ]


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """Estimate the work: one pass per picture."""
    return PICTURES + 3.0 * MASKED_PICTURES


def pictures(bench: Workbench) -> int:  # noqa: ARG001
    """Count the pictures of a class, one per row."""
    return PICTURES + 3 * MASKED_PICTURES


GALLERY = Stage(
    "gallery", by_site=False, classes_per_shard=25, passes=passes, process=process, rows=pictures, pictures=pictures
)
