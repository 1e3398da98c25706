"""Quality and diversity of the pictures of each class, against its real images (paper, Sec. 5.4)."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from cawa_core.class_metrics.records import METRICS
from cawa_core.options import Count, option
from cawa_core.tables.schema import CLASS, F32, F64, I32, TEXT, Columns, Table
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class ManifoldOptions:
    """The option of every measure that compares pictures with the neighbourhoods of real images."""

    neighbours: Count = option(3, "Nearest neighbours (k) for precision, recall, density, coverage and realism.")


@dataclasses.dataclass(frozen=True)
class ClassMetricOptions(ManifoldOptions):
    """Options of the analysis ``class_metrics``."""

    metric_samples: Annotated[int, Field(ge=20)] = option(1000, "Generated images per class for the class metrics.")
    ms_ssim_samples: Annotated[int, Field(ge=2)] = option(
        100, "Generated images per class for MS-SSIM, which compares all pairs of them."
    )


Size = Annotated[float, Field(ge=0)]
ClassMetricThresholds = dataclasses.make_dataclass(
    "ClassMetricThresholds",
    [
        (
            metric.threshold_option,
            Size,
            option(
                metric.threshold,
                f"Smallest {'drop' if metric.better == 'higher' else 'rise'} of {metric.heading} that counts as a "
                f"regression{', relative to the base' if metric.is_relative else ''}.",
            ),
        )
        for metric in METRICS
    ],
    frozen=True,
    namespace={"__doc__": "Thresholds of the comparison of class metrics, one per metric."},
)

METRIC_COLUMNS: Columns = {metric.name: (F32, metric.meaning) for metric in METRICS}
COUNTS: Columns = {
    "n_real": (I32, "number of real images used"),
    "n_fake": (I32, "number of generated images used"),
    "ms_ssim_clamped": (I32, "number of negative terms of MS-SSIM that were set to zero, over all pairs and scales"),
    "protocol": (TEXT, "evaluator, feature layer, k, kernel and MS-SSIM scales"),
}

CLASS_METRICS_TABLE = Table(
    "class_metrics",
    ("class_id",),
    {
        **CLASS,
        "class_name": (TEXT, "name of the class"),
        "total_awareness": (
            F64,
            "sum of |E_z[offset / gain]| over all sites and channels that reach the image, in closed form, or "
            "sampled at sites that are not affine (sec. 5.4)",
        ),
        **METRIC_COLUMNS,
        **COUNTS,
        "unreadable": (pa.list_(TEXT), "real image files that are incomplete or unreadable, and were left out"),
    },
)
CLASS_METRIC_FLOOR_TABLE = Table(
    "class_metric_floor",
    ("class_id", "comparison"),
    {
        **CLASS,
        "comparison": (
            TEXT,
            "real_real: one half of the real images against the other; fake_real: equally many generated images "
            "against that other half",
        ),
        **METRIC_COLUMNS,
        **COUNTS,
    },
)
CLASS_CENTROIDS_TABLE = Table(
    "class_centroids",
    ("class_id",),
    {
        **CLASS,
        "real_centroid": (pa.list_(F32), "mean feature vector of the real images"),
        "fake_centroid": (pa.list_(F32), "mean feature vector of the generated images"),
    },
)
CLASS_CONFUSION_TABLE = Table(
    "class_confusion",
    ("class_id", "predicted_class"),
    {
        **CLASS,
        "predicted_class": (I32, "index of the class that the evaluator assigns images of this class to"),
        "predicted_name": (TEXT, "name of that class"),
        "n_fake": (I32, "number of generated images assigned to it"),
        "n_real": (I32, "number of real images assigned to it"),
    },
)

CLASS_METRICS = Analysis(
    "class_metrics",
    "Class metrics",
    options=ClassMetricOptions,
    tables=(CLASS_METRICS_TABLE, CLASS_METRIC_FLOOR_TABLE, CLASS_CENTROIDS_TABLE, CLASS_CONFUSION_TABLE),
    needs=("evaluator", "real_images"),
    shows=("fid_features", "manifold_features"),
    work="workflows.analyses.class_metrics.work:ClassMetricsWork",
    results="workflows.analyses.class_metrics.results:ClassMetricsResults",
    comparison="workflows.analyses.class_metrics.comparison:ClassMetricsComparison",
    thresholds=ClassMetricThresholds,
)
