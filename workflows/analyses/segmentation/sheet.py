"""``cawa segment``: cluster pixels into parts of generated objects, with and without awareness (paper, Fig. 8)."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cawa_core.errors import InputError
from cawa_core.rendering.grids import coloured, labels_to_png
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.storage import Storage
from workflows.analyses.segmentation import SegmentationOptions
from workflows.analyses.segmentation.command import SegmentCommandOptions
from workflows.analyses.segmentation.work import PASSES, SegmentationWork, SegmentedClass, segmented, sites_of
from workflows.commands.sheets import (
    Advance,
    as_json,
    computed,
    mean_and_error,
    mean_in_words,
    opened_output,
    provenance,
    require_rows,
)
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

WAYS = {False: "plain", True: "weighted"}


def run_segment(segment: SegmentCommandOptions, spec: AuditSpec, options: RunOptions) -> Storage:
    """Draw the sheet and write it with the label maps as PNG and Parquet, and the scores as JSON; return where.

    Raises:
        InputError: bad input; nothing was written.
    """
    if not segment.classes:
        raise InputError("classes must name at least one class to segment; see `cawa classes`")
    latents = max(segment.latents, segment.fitted_latents)
    spec = dataclasses.replace(spec, classes=segment.classes)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), ())
    SegmentationWork().check(lab, SegmentationOptions(segment.sites, segment.clusters, latents))
    require_rows(segment.latents, len(lab.class_ids), "classes")
    sites = sites_of(lab, segment.sites)
    storage = opened_output(segment.output, lab, "segments")
    work = functools.partial(_segment_class, lab, sites, segment.clusters, latents)
    results = computed(lab, "segmenting pictures of", lab.class_ids, work, PASSES * latents)
    storage.write("segments.png", draw_sheet(_sheet(segment, lab, results)))
    storage.write("segments.parquet", _table(results))
    for result in results:
        for (weighted, clusters), segmentation in result.segmentations.items():
            for latent in range(segment.latents):
                name = f"maps/c{result.class_id:04d}-{latent:04d}-{WAYS[weighted]}-{clusters}.png"
                storage.write(name, labels_to_png(segmentation.labels[latent], result.colours[weighted, clusters]))
    storage.write("segments.json", as_json(provenance(lab, spec, segment) | _description(segment, lab, results)))
    return storage


def _segment_class(
    lab: Lab, sites: Sequence[int], clusters: Sequence[int], latents: int, class_id: int, advance: Advance
) -> SegmentedClass:
    return segmented(lab, class_id, sites, clusters, latents, advance)


def _table(results: Sequence[SegmentedClass]) -> bytes:
    """Encode every label map, flattened row by row, with its overlap if that is known."""
    rows: dict[str, list[Any]] = {name: [] for name in ("class_id", "latent", "weighted", "clusters", "iou", "labels")}
    for result in results:
        for (weighted, clusters), segmentation in result.segmentations.items():
            for latent, labels in enumerate(segmentation.labels):
                overlap = result.overlap.get((weighted, clusters))
                scored = None if overlap is None else overlap[latent]
                values = (result.class_id, latent, weighted, clusters, scored, labels.ravel())
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    kinds = (pa.int32(), pa.int32(), pa.bool_(), pa.int32(), pa.float64(), pa.list_(pa.uint8()))
    schema = pa.schema(list(zip(rows, kinds, strict=True)))
    sink = io.BytesIO()
    pq.write_table(pa.table(rows, schema=schema), sink)
    return sink.getvalue()


def _sheet(segment: SegmentCommandOptions, lab: Lab, results: Sequence[SegmentedClass]) -> Sheet:
    names = lab.generator.class_names
    keys = [(weighted, k) for k in segment.clusters for weighted in WAYS]
    rows = []
    for result in results:
        for latent in range(segment.latents):
            maps = [
                Cell(
                    coloured(result.colours[key][result.segmentations[key].labels[latent]]),
                    f"IoU {result.overlap[key][latent]:.2f}" if result.overlap else "",
                )
                for key in keys
            ]
            cells = (Cell(as_pixels(result.images[latent])), *maps)
            rows.append(SheetRow(names[result.class_id] if latent == 0 else "", cells, begins_group=latent == 0))
        if result.overlap:
            means = (Cell(None, mean_in_words(result.overlap[key])) for key in keys)
            rows.append(SheetRow("mean IoU", (Cell(None), *means)))
    sites = f"sites {', '.join(map(str, sites_of(lab, segment.sites)))}"
    scored = (
        " IoU: overlap of the parts away from the border with Otsu's foreground; mean over "
        f"{len(results[0].images)} pictures ± standard error."
    )
    return Sheet(
        f"{lab.generator.name}: pixels clustered by the channels of {sites}",
        "Clusters are fitted to all pictures of a class together. By awareness with K = "
        f"{max(segment.clusters)}, the darkest is the one most at the border; in other maps, each part has the "
        "colour of the part that it shares most pixels with."
        + scored * bool(results[0].overlap)
        + f" Seed {lab.spec.seed}.",
        ("picture", *(f"K = {k}\n{'by awareness' if weighted else 'plain'}" for weighted, k in keys)),
        tuple(rows),
    )


def _description(segment: SegmentCommandOptions, lab: Lab, results: Sequence[SegmentedClass]) -> dict[str, Any]:
    classes = []
    for result in results:
        entry: dict[str, Any] = {"class_id": result.class_id, "class": lab.generator.class_names[result.class_id]}
        if result.overlap:
            entry["iou"] = {
                str(k): {way: mean_and_error(result.overlap[weighted, k]) for weighted, way in WAYS.items()}
                | {"gained_by_awareness": mean_and_error(result.overlap[True, k] - result.overlap[False, k])}
                for k in segment.clusters
            }
        classes.append(entry)
    return {
        "sites": list(sites_of(lab, segment.sites)),
        "clusters": list(segment.clusters),
        "fitted_latents": len(results[0].images),
        "classes": classes,
    }
