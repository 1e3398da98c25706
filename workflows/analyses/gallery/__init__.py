"""Pictures of each class, unmasked and with low, random or high channels masked (paper, Fig. 3)."""

from __future__ import annotations

import pyarrow as pa

from cawa_core.tables.schema import CLASS, F32, I32, TEXT, Table
from workflows.analyses.masking import ControlOptions
from workflows.interface import Analysis

GALLERY_TABLE = Table(
    "gallery",
    ("class_id", "kind", "index"),
    {
        **CLASS,
        "kind": (
            TEXT,
            "sample (unmasked), or the channels masked at all sites (a share control_fraction): lowest or highest "
            "category awareness, or random",
        ),
        "index": (I32, "index of the latent"),
        "score": (F32, "the evaluator's probability of the class"),
        "png": (pa.binary(), "the image"),
    },
)
CLASS_THUMBNAILS_TABLE = Table(
    "class_thumbnails",
    ("class_id",),
    {
        **CLASS,
        "n_images": (I32, "number of images side by side: the first samples of the class"),
        "webp": (pa.binary(), "the images, each at most 64 pixels wide, as one lossy WebP"),
    },
)

GALLERY = Analysis(
    "gallery",
    "Gallery",
    options=ControlOptions,
    tables=(GALLERY_TABLE, CLASS_THUMBNAILS_TABLE),
    needs=("evaluator",),
    classes_per_shard=25,
    work="workflows.analyses.gallery.work:GalleryWork",
    results="workflows.analyses.gallery.results:GalleryResults",
    not_compared="its pictures are for people to look at",
)
