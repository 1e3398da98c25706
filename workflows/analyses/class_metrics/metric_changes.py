"""Changes in ``class_metrics``, per class and metric and over all classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.class_metrics.kernel import KERNEL_SAMPLES
from cawa_core.class_metrics.records import METRICS, ClassMetric
from cawa_core.statistics.many_tests import adjusted
from workflows.analyses.class_metrics.noise import (
    binomial,
    bound_of_pairs,
    exact_share_p_values,
    from_halves,
    from_spread,
    wider,
)
from workflows.analyses.class_metrics.scales import on_scale, sizes, worsening
from workflows.compare.significance import Noise, shift_p_value

Array = NDArray[np.float64]

INDEPENDENT = 1.0
"""Design effect of a share of independent images."""
COMPARED_IMAGES = "ms_ssim_images"
"""Column with the number of images that MS-SSIM compares, which is added to the table."""


def metric_changes(
    base: pd.DataFrame,
    new: pd.DataFrame,
    base_floor: pd.DataFrame,
    new_floor: pd.DataFrame,
    thresholds: Mapping[str, float],
    level: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test the change of every class metric.

    There are two families of tests: all classes and metrics, and the totals of the metrics. Each is controlled at half
    the false discovery rate (Benjamini-Hochberg), so that a comparison without any change reports one at most that
    often.

    Args:
        base, new: table ``class_metrics`` of the two audits, for the same classes, with the column
            :data:`COMPARED_IMAGES`.
        base_floor, new_floor: table ``class_metric_floor``.
        thresholds: smallest worsening that counts, by metric.
        level: false discovery rate.

    Returns:
        One row per (class, metric) with ``base``, ``new``, ``worsening`` (in the unit of its threshold), ``stderr`` and
        ``noise`` (standard error of the difference on the scale of the test, and its source), ``p_value``, ``q_value``
        (adjusted; NaN: cannot be judged), ``verdict``; and one row per metric with the same over classes.
    """
    base, new = (frame.sort_values("class_id", ignore_index=True) for frame in (base, new))
    floors = [_floors(floor, base.class_id) for floor in (base_floor, new_floor)]
    by_class = []
    totals = []
    for metric in METRICS:
        rows, total = _changes(metric, base, new, floors)
        by_class.append(rows)
        totals.append(total)
    return (
        _with_verdicts(pd.concat(by_class, ignore_index=True), thresholds, level / 2),
        _with_verdicts(pd.DataFrame(totals), thresholds, level / 2),
    )


def _floors(floor: pd.DataFrame, class_ids: pd.Series[Any]) -> dict[str, pd.DataFrame]:
    """Return the rows of each kind of floor in the order of the classes; NaN for a class without one."""
    kinds = ("real_real", "fake_real")
    return {kind: floor[floor.comparison == kind].set_index("class_id").reindex(class_ids) for kind in kinds}


def _changes(
    metric: ClassMetric, base: pd.DataFrame, new: pd.DataFrame, floors: list[dict[str, pd.DataFrame]]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    values = [_numbers(frame, metric.name) for frame in (base, new)]
    counts = [_draws(frame, metric) for frame in (base, new)]
    differences = _differences(metric, values, counts, values, floors)
    noise = _noise(metric, differences, values, counts, floors)
    worse = worsening(metric, values[0], values[1], _smallest_size(metric, floors[0]["real_real"]))
    rows = pd.DataFrame(
        {
            "class_id": base.class_id,
            "class_name": base.class_name,
            "metric": metric.name,
            "base": values[0],
            "new": values[1],
            "worsening": worse,
            "stderr": noise.stderr,
            "noise": noise.source,
            "p_value": _p_values(metric, differences, noise, values, counts),
        }
    )
    known = np.isfinite(worse)
    total = {
        "metric": metric.name,
        "base": _mean(values[0]),
        "new": _mean(values[1]),
        "worsening": float(np.median(worse[known])) if known.any() else float("nan"),
        "n_classes": int(known.sum()),
        "p_value": shift_p_value(differences, noise),
    }
    return rows, total


def _smallest_size(metric: ClassMetric, real_floor: pd.DataFrame) -> Array:
    """Return the smallest size that a relative change refers to: that of the real images for KID, which may be zero."""
    if metric.draws != "kernel":
        return np.zeros(len(real_floor))
    return np.asarray(np.nan_to_num(np.abs(_numbers(real_floor, metric.name))))


def _differences(
    metric: ClassMetric,
    values: list[Array],
    counts: list[Array],
    whole: list[Array],
    floors: list[dict[str, pd.DataFrame]],
) -> Array:
    """Return new minus base on the scale of the test, for values of all images or of half of them."""
    before, after = (on_scale(metric, *sides) for sides in zip(values, counts, strict=True))
    halves, real_halves = (
        [_numbers(floor[kind], metric.name) for floor in floors] for kind in ("fake_real", "real_real")
    )
    difference = after - before
    return np.where(difference == 0, 0.0, difference / sizes(metric, whole, halves, real_halves))


def _noise(
    metric: ClassMetric,
    differences: Array,
    values: list[Array],
    counts: list[Array],
    floors: list[dict[str, pd.DataFrame]],
) -> Noise:
    """Estimate the noise: from theory for shares of independent images, from half samples for other metrics.

    For shares of dependent images it is the larger one of both; MS-SSIM has no half samples.
    """
    if metric.draws == "compared":
        spread = from_spread(differences)
        return spread if spread.source != "unknown" else bound_of_pairs(values[0], values[1], counts[0], counts[1])
    if metric.design_effect == INDEPENDENT:
        return binomial(counts[0], counts[1], metric.design_effect)
    halves = [floor["fake_real"] for floor in floors]
    half_counts = [_draws(half, metric) for half in halves]
    half_values = [_numbers(half, metric.name) for half in halves]
    half_differences = _differences(metric, half_values, half_counts, values, floors)
    noise = from_halves(differences, half_differences, counts[0], half_counts[0])
    if metric.scale == "share":
        return wider(binomial(counts[0], counts[1], metric.design_effect), noise)
    return noise if noise.source != "unknown" else from_spread(differences)


def _p_values(metric: ClassMetric, differences: Array, noise: Noise, values: list[Array], counts: list[Array]) -> Array:
    if metric.design_effect == INDEPENDENT:
        return exact_share_p_values(*values, *counts)
    return noise.p_values(differences)


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _draws(frame: pd.DataFrame, metric: ClassMetric) -> Array:
    """Return the number of images that each class's metric averages over."""
    if metric.draws == "compared":
        return _numbers(frame, COMPARED_IMAGES)
    fakes = _numbers(frame, "n_fake")
    if metric.draws == "kernel":
        return np.minimum(fakes, KERNEL_SAMPLES)
    return np.minimum(fakes, _numbers(frame, "n_real")) if metric.draws == "matched" else fakes


def _with_verdicts(rows: pd.DataFrame, thresholds: Mapping[str, float], level: float) -> pd.DataFrame:
    """Add ``q_value`` and ``verdict``: worse, better, below threshold, within noise, same or unknown."""
    q_values = adjusted(rows.p_value.to_numpy(dtype=np.float64))
    large = rows.worsening.abs() >= rows.metric.map(thresholds)
    significant = q_values <= level
    verdict = np.select(
        [
            np.isnan(q_values),
            (rows.base == rows.new) & ((rows.p_value == 1) | (rows.worsening == 0)),
            ~significant,
            ~large,
            rows.worsening > 0,
        ],
        ["unknown", "same", "within noise", "below threshold", "worse"],
        "better",
    )
    return rows.assign(q_value=q_values, verdict=verdict)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
