"""``cawa segment``: parts of generated objects by clustering pixels, with and without awareness (paper, Fig. 8)."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cawa_core.applications.editing import check_channels
from cawa_core.applications.segmentation import (
    Segmentation,
    bright_foreground,
    clustered,
    intersection_over_union,
    pixel_features,
)
from cawa_core.errors import InputError
from cawa_core.masking.engine import class_ids_of
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, as_pixels, draw_sheet
from cawa_core.specs import AuditSpec
from cawa_core.storage import Storage, open_storage
from workflows.applications.options import SegmentSpec
from workflows.applications.sheets import mean_and_error, mean_in_words, provenance, require_rows
from workflows.config import RunOptions
from workflows.stages.awareness import class_awareness
from workflows.workbench import Workbench

COLOURS = (
    *((38, 44, 56), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    (204, 121, 167),
)
"""Of clusters, the background first: Okabe and Ito's, told apart by the colour-blind too; of more, they repeat."""
WAYS = ("plain", "weighted")
ON_BLACK = ("fashion-biggan",)
"""Generators of bright objects on black, where Otsu's threshold gives a mask to compare with."""


@dataclasses.dataclass(frozen=True)
class SegmentedClass:
    """One class: its pictures, a segmentation for each way and K, and foreground IoU with a mask where there is one."""

    class_id: int
    images: Tensor
    segmentations: dict[tuple[str, int], Segmentation]
    overlap: dict[tuple[str, int], NDArray[np.float64]]


def run_segment(segment: SegmentSpec, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet, write the label maps as PNG and Parquet and the scores as JSON; gives where.

    Raises:
        InputError: bad input; nothing was written.
    """
    if not segment.classes:
        raise InputError("classes must name at least one class to segment; see `cawa classes`")
    require_rows(segment.latents, len(segment.classes), "classes")
    if not segment.clusters or len(set(segment.clusters)) < len(segment.clusters):
        raise InputError(f"clusters must be different numbers, at least one; got {list(segment.clusters)}")
    spec = dataclasses.replace(spec, classes=segment.classes, stages=("awareness",))
    bench = Workbench.build(spec, options.with_absolute_paths())
    for site in segment.sites:
        check_channels(bench.generator, site, (0,))
    with bench.arithmetic():
        found = [_segmented(segment, bench, one) for one in bench.spec.classes if isinstance(one, int)]
    storage = open_storage(segment.output or Path("results") / f"{bench.generator.name}-segments")
    storage.write("segments.png", draw_sheet(_sheet(segment, bench, found)))
    storage.write("segments.parquet", _table(found))
    for one in found:
        for (way, clusters), segmentation in one.segmentations.items():
            for latent in range(segment.latents):
                name = f"maps/c{one.class_id:04d}-{latent:04d}-{way}-{clusters}.png"
                storage.write(name, _as_png(segmentation.labels[latent]))
    storage.write("segments.json", json.dumps(_description(segment, bench, found), indent=1).encode())
    return storage


def _segmented(segment: SegmentSpec, bench: Workbench, class_id: int) -> SegmentedClass:
    generator = bench.generator
    sites = _sites(segment, bench)
    z = bench.latents(class_id, max(segment.latents, segment.fitted_latents))
    with torch.inference_mode():
        images = torch.cat([generator(rows, class_ids_of(class_id, rows)) for rows in z.split(bench.batch_size)])
    aware = {site: class_awareness(bench, (class_id,), site).category_awareness[0] for site in sites}
    found = {}
    for way in WAYS:
        weights = {site: np.nan_to_num(values) for site, values in aware.items()} if way == "weighted" else None
        parts = [
            pixel_features(generator, rows, class_ids_of(class_id, rows), sites, weights, bench.spec.seed)
            for rows in z.split(bench.batch_size)
        ]
        features = torch.cat(parts)
        found |= {(way, clusters): clustered(features, clusters, bench.spec.seed) for clusters in segment.clusters}
    overlap = {}
    if generator.name in ON_BLACK:
        mask = bright_foreground(images)
        overlap = {key: intersection_over_union(one.foreground, mask) for key, one in found.items()}
    return SegmentedClass(class_id, images[: segment.latents], found, overlap)


def _sites(segment: SegmentSpec, bench: Workbench) -> tuple[int, ...]:
    """Those given, else the last half, as in the paper's Fig. 8."""
    n_sites = len(bench.generator.sites)
    return segment.sites or tuple(range(n_sites // 2, n_sites))


def _coloured(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = np.array(COLOURS, dtype=np.uint8)
    places = np.where(labels == 0, 0, 1 + (labels.astype(int) - 1) % (len(colours) - 1))
    return colours[places]


def _as_png(labels: NDArray[np.uint8]) -> bytes:
    """Labels as the grey values of a picture with the sheet's palette."""
    picture = Image.fromarray(labels).convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette(_coloured(np.arange(256, dtype=np.uint8)).ravel().tolist())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _table(found: Sequence[SegmentedClass]) -> bytes:
    """Every label map, rows of pixels one after another, with its overlap where that is known."""
    rows: dict[str, list[Any]] = {name: [] for name in ("class_id", "latent", "weighted", "clusters", "iou", "labels")}
    for one in found:
        for (way, clusters), segmentation in one.segmentations.items():
            for latent, labels in enumerate(segmentation.labels):
                overlap = one.overlap.get((way, clusters))
                scored = None if overlap is None else overlap[latent]
                values = (one.class_id, latent, way == "weighted", clusters, scored, labels.ravel())
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    kinds = (pa.int32(), pa.int32(), pa.bool_(), pa.int32(), pa.float64(), pa.list_(pa.uint8()))
    schema = pa.schema(list(zip(rows, kinds, strict=True)))
    sink = io.BytesIO()
    pq.write_table(pa.table(rows, schema=schema), sink)
    return sink.getvalue()


def _sheet(segment: SegmentSpec, bench: Workbench, found: Sequence[SegmentedClass]) -> Sheet:
    names, keys = bench.generator.class_names, [(way, k) for k in segment.clusters for way in WAYS]
    rows = []
    for one in found:
        for latent in range(segment.latents):
            maps = [
                Cell(
                    _coloured(one.segmentations[key].labels[latent]),
                    f"IoU {one.overlap[key][latent]:.2f}" if one.overlap else "",
                )
                for key in keys
            ]
            cells = (Cell(as_pixels(one.images[latent])), *maps)
            rows.append(SheetRow(names[one.class_id] if latent == 0 else "", cells, begins_group=latent == 0))
        if one.overlap:
            means = (Cell(None, mean_in_words(one.overlap[key])) for key in keys)
            rows.append(SheetRow("mean IoU", (Cell(None), *means)))
    sites = f"sites {', '.join(map(str, _sites(segment, bench)))}"
    scored = (
        " IoU: of what lies less at the border than most, with Otsu's foreground; mean over "
        f"{segment.fitted_latents} pictures ± standard error."
    )
    return Sheet(
        f"{bench.generator.name}: pixels clustered by the channels of {sites}",
        "Clusters are fitted to all pictures of a class together; the darkest lies most at their border."
        + scored * bool(found[0].overlap)
        + f" Seed {bench.spec.seed}.",
        ("picture", *(f"K = {k}\n{'by awareness' if way == 'weighted' else 'plain'}" for way, k in keys)),
        tuple(rows),
    )


def _description(segment: SegmentSpec, bench: Workbench, found: Sequence[SegmentedClass]) -> dict[str, Any]:
    classes = []
    for one in found:
        entry: dict[str, Any] = {"class_id": one.class_id, "class": bench.generator.class_names[one.class_id]}
        if one.overlap:
            entry["iou"] = {
                str(k): {way: mean_and_error(one.overlap[way, k]) for way in WAYS}
                | {"gained_by_awareness": mean_and_error(one.overlap["weighted", k] - one.overlap["plain", k])}
                for k in segment.clusters
            }
        classes.append(entry)
    return {
        **provenance(bench),
        "sites": list(_sites(segment, bench)),
        "clusters": list(segment.clusters),
        "fitted_latents": segment.fitted_latents,
        "classes": classes,
    }
