"""Mean IoU of maps of the features over labels and classes, with intervals over classes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.labels import NOTHING
from cawa_core.statistics.intervals import percentile_interval
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import TEST
from workflows.results.class_resamples import ClassResamples

COUNTS = ("predicted", "true", "both", "iou_sum", "n_images")

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class MeanScores:
    """Mean IoU of one map and of its resamples over classes.

    Attributes:
        of_set: mean over labels of the IoU over all images, the observed value first ``[1 + resamples]``.
        by_image: mean over labels of the mean IoU of single images ``[1 + resamples]``.
        labels: names of the labels.
        of_labels: IoU of each label over all images ``[labels]``; NaN for one that is neither there nor predicted.
        by_label: mean IoU of each label in single images ``[labels]``.
    """

    of_set: Array
    by_image: Array
    labels: tuple[str, ...]
    of_labels: Array
    by_label: Array

    def as_data(self) -> dict[str, Any]:
        """Return both means with their 95% intervals as entries of the summary; no interval for one class."""
        entries: dict[str, Any] = {}
        for name, values in (("miou", self.of_set), ("miou_by_image", self.by_image)):
            entries |= {name: known(values[0]), f"{name}_ci": interval_of(values[1:])}
        return entries


def known(value: float | np.floating[Any]) -> float | None:
    """Return a value as an entry of the summary; None if there is none, as where no image shows a label."""
    return float(value) if np.isfinite(value) else None


def interval_of(resampled: Array) -> list[float] | None:
    """Return the 95% interval of resampled values; None without any."""
    interval = percentile_interval(resampled)
    return [interval.low, interval.high] if np.isfinite(interval.low) else None


def scores_of(rows: pd.DataFrame, resamples: ClassResamples, class_ids: list[int]) -> MeanScores:
    """Return the mean IoU of one map of the features.

    Args:
        rows: rows of ``semantics`` of one map, or of ``semantics_transfer`` of some, one per class and label.
        resamples: bootstrap over classes.
        class_ids: classes to average over.
    """
    labels = tuple(sorted(label for label in rows.label.unique() if label != NOTHING))
    sums = {}
    observed = np.full((1, len(class_ids)), 1 / len(class_ids))
    weights = np.concatenate([observed, resamples.weights(len(class_ids))]) if len(class_ids) > 1 else observed
    by_label = rows.groupby(["class_id", "label"])[list(COUNTS)].sum()
    for name in COUNTS:
        wide = by_label[name].unstack(fill_value=0).reindex(index=class_ids, columns=list(labels), fill_value=0)
        sums[name] = weights @ wide.fillna(0).to_numpy(dtype=np.float64)
    of_set = _ratio(sums["both"], sums["predicted"] + sums["true"] - sums["both"])
    by_image = _ratio(sums["iou_sum"], sums["n_images"])
    return MeanScores(_mean(of_set), _mean(by_image), labels, of_set[0], by_image[0])


def _ratio(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _mean(iou: Array) -> Array:
    """Return the mean over the labels that a resample shows; NaN if it shows none."""
    known = np.isfinite(iou)
    number = known.sum(axis=1)
    return _ratio(np.where(known, iou, 0).sum(axis=1), number.astype(np.float64))


def of_whole_sample(rows: pd.DataFrame, sample: str = TEST) -> pd.DataFrame:
    """Return the rows of maps of all sites that are trained on the whole sample."""
    return rows[(rows.site == ALL_SITES) & (rows.n_annotated == 0) & (rows["sample"] == sample)]
