"""Pictures for the report: samples of each class, and the same with low, random or high channels masked."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cawa_core.interventions import SiteMasks, masks_at
from cawa_core.rendering.grids import thumbnails_to_webp
from cawa_core.rendering.pixels import to_png
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.gallery import CLASS_THUMBNAILS_TABLE, GALLERY_TABLE
from workflows.analyses.masking import ControlOptions
from workflows.analyses.masking.control_masks import site_controls
from workflows.interface import Cost, Output, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

PICTURES = 12
"""Samples per class."""
THUMBNAILS = 6
"""Samples per class that stand for it in lists."""
MASKED_PICTURES = 4
"""Samples per class that are also shown masked."""
MASKED = ("lowest", "random", "highest")
"""Control masks that they are shown under."""


class GalleryWork(Work[ControlOptions]):
    """Computation of the tables ``gallery`` and ``class_thumbnails``."""

    def run(self, lab: Lab, options: ControlOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Generate the pictures of some classes; kind is ``sample`` or the mask applied at all sites."""
        rows: list[dict[str, Any]] = []
        thumbnails: list[dict[str, Any]] = []
        for class_id in shard.class_ids:
            fraction = options.control_fraction
            controls = {
                site.index: site_controls(lab, class_id, site.index, fraction=fraction, repeats=1)
                for site in lab.generator.sites
            }
            z = lab.latents(class_id, PICTURES)
            samples = _picture_rows(lab, class_id, "sample", z, {})
            rows += samples
            webp = thumbnails_to_webp([row["png"] for row in samples[:THUMBNAILS]])
            thumbnails.append({"class_id": class_id, "n_images": THUMBNAILS, "webp": webp})
            for kind in MASKED:
                masks = {site: masks[kind][0] for site, masks in controls.items()}
                rows += _picture_rows(lab, class_id, kind, z[:MASKED_PICTURES], masks)
        tables = {GALLERY_TABLE.name: rows, CLASS_THUMBNAILS_TABLE.name: thumbnails}
        return Output({name: rows_of(name, records) for name, records in tables.items()})

    def cost(self, lab: Lab, options: ControlOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: one pass per picture, each of which is a row."""
        pictures = PICTURES + len(MASKED) * MASKED_PICTURES
        return Cost(float(pictures), pictures, pictures)


def _picture_rows(lab: Lab, class_id: int, kind: str, z: Tensor, masks: SiteMasks) -> list[dict[str, Any]]:
    images, scores = lab.images(class_id, z, masks_at(masks))
    return [
        {"class_id": class_id, "kind": kind, "index": index, "score": score, "png": to_png(image)}
        for index, (image, score) in enumerate(zip(images, scores.tolist(), strict=True))
    ]
