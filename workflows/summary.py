"""``summary.json``: the figures that a script, a dashboard or the report's first lines want."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.rendering.findings import findings
from cawa_core.rendering.html_tables import records
from cawa_core.schemas import ALL_SITES
from cawa_core.seeds import SHARED_CLASS, random_generator
from cawa_core.specs import AuditSpec
from cawa_core.statistics.estimates import CHANNEL, best_estimates
from cawa_core.statistics.intervals import bootstrap_mean, mantel_test
from cawa_core.statistics.similarity import centroid_distances, common_classes, pairs_as_matrix
from cawa_core.tables import Manifest
from workflows.aggregate import METRICS

Array = NDArray[np.float64]
Randoms = Callable[[str], np.random.Generator]

SIGNIFICANT = 0.05
LARGE_SIGN_PROBABILITY = 1e-3
"""Where a gain is negative this often, sampled means of β/γ are no longer to be trusted."""
LIGHT_TAIL = 1e-6
"""Below this, no sample in ten thousand comes near a zero gain."""


def summarise(manifest: Manifest, audit: dict[str, Any], spec: AuditSpec) -> dict[str, Any]:
    """All sections that the recorded tables allow; a missing stage leaves its section null."""

    def randoms(purpose: str) -> np.random.Generator:
        return random_generator(spec.seed, SHARED_CLASS, 0, purpose)

    tables = {name: manifest.table(name) for name in _NEEDED}
    sections = {
        "masking_prediction": masking_prediction(tables["masking_correlation"], spec.bootstraps, randoms),
        "masking_controls": masking_controls(tables["masking_controls"], spec.bootstraps, randoms),
        "overlap": overlap_summary(tables["class_overlap"], tables["class_centroids"], spec.permutations, randoms),
        "sharing": sharing(tables["shared_channels"]),
        "class_metrics": class_metric_summary(tables["class_metrics"], tables["class_metric_floor"]),
        "metric_correlation": _records(tables["metric_correlation"]),
        "heavy_tails": heavy_tails(tables["awareness"]),
    }
    seconds = pd.Series([one.seconds for one in manifest.receipts.values()], dtype=float)
    by_stage = seconds.groupby([one.stage for one in manifest.receipts.values()]).sum().round(1)
    return _plain(
        {
            "audit": audit["hash"],
            "generator": spec.generator,
            "classes": list(spec.classes),
            "class_names": audit["class_names"],
            "quarantined": sorted(manifest.quarantined),
            "findings": [dataclasses.asdict(one) for one in findings(sections)],
            **sections,
            "seconds": by_stage.to_dict(),
        }
    )


_NEEDED = (
    "awareness",
    "masking_correlation",
    "masking_controls",
    "class_overlap",
    "class_centroids",
    "shared_channels",
    "class_metrics",
    "class_metric_floor",
    "metric_correlation",
)


def masking_prediction(correlations: pd.DataFrame, resamples: int, randoms: Randoms) -> list[dict[str, Any]] | None:
    """How well each predictor foretells each effect: means over classes, by site and (site -1) over sites."""
    if not len(correlations):
        return None
    means = correlations.groupby(["target", "predictor", "class_id"], as_index=False).mean(numeric_only=True)
    beats_null = (correlations.p_value < SIGNIFICANT) & (correlations.pearson_smoothed > 0)
    significant = correlations.assign(significant=beats_null)
    frame = pd.concat([significant, _over_sites(significant, means)], ignore_index=True)
    rows = []
    for (target, predictor, site), part in frame.groupby(["target", "predictor", "site"]):
        row = {"target": target, "predictor": predictor, "site": int(site), "n_classes": part.class_id.nunique()}
        for name in ("pearson_smoothed", "pearson", "spearman"):
            values = part[name].dropna().to_numpy(dtype=np.float64)
            interval = _interval(values, resamples, randoms(f"{target} {predictor} {site}"))
            row |= {name: _mean(values), f"{name}_ci": interval}
        row |= {"null_std": _mean(part.null_std), "share_significant": float(part.significant.mean())}
        rows.append(row)
    return rows


def _over_sites(correlations: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    shares = correlations.groupby(["target", "predictor", "class_id"], as_index=False).significant.mean()
    return means.merge(shares).assign(site=ALL_SITES)


def masking_controls(controls: pd.DataFrame, resamples: int, randoms: Randoms) -> dict[str, Any] | None:
    """Fig. 3 in numbers: lowest, random and highest masks of one size, by site and (site -1) at all sites at once."""
    if not len(controls):
        return None
    effects = ["score_change", "score_change_abs"]
    by_class = controls.groupby(["site", "control", "class_id"], as_index=False)[effects].mean()
    rows = []
    for (site, control), part in by_class[by_class.control != "no_op"].groupby(["site", "control"]):
        row: dict[str, Any] = {"site": int(site), "control": control, "n_classes": len(part)}
        for effect in effects:
            values = part[effect].to_numpy(dtype=np.float64)
            row |= {effect: _mean(values), f"{effect}_ci": _interval(values, resamples, randoms(f"{site} {control}"))}
        rows.append(row)
    everywhere = by_class[by_class.site == ALL_SITES].pivot(index="class_id", columns="control", values=effects)
    return {
        "rows": rows,
        "highest_minus_random": _difference(everywhere, "highest", "random", resamples, randoms),
        "random_minus_lowest": _difference(everywhere, "random", "lowest", resamples, randoms),
        "no_op_largest_change": float(controls[controls.control == "no_op"].score_change_abs.max()),
    }


def _difference(
    everywhere: pd.DataFrame, high: str, low: str, resamples: int, randoms: Randoms
) -> dict[str, Any] | None:
    if everywhere.empty:
        return None
    values = (everywhere["score_change"][high] - everywhere["score_change"][low]).to_numpy(dtype=np.float64)
    return {
        "mean": _mean(values),
        "ci": _interval(values, resamples, randoms(f"{high} {low}")),
        "n_classes": len(values),
    }


def overlap_summary(
    overlaps: pd.DataFrame, centroids: pd.DataFrame, permutations: int, randoms: Randoms
) -> list[dict[str, Any]] | None:
    """Mean overlap by criterion and k, and whether it follows the similarity of the real classes (Mantel test)."""
    if not len(overlaps):
        return None
    distances = centroid_distances(centroids)
    rows = []
    for (criterion, site, k), part in overlaps.groupby(["criterion", "site", "k"]):
        row = {
            "criterion": criterion,
            "site": int(site),
            "k": int(k),
            "overlap": _mean(part.overlap),
            "by_chance": _mean(part.overlap_by_chance),
            "similarity_spearman": None,
            "similarity_p": None,
        }
        ids = common_classes(part, distances)
        if distances is not None and len(ids) > 3:
            matrix = pairs_as_matrix(part, ids)
            random = randoms(f"{criterion} {site} {k}")
            r, p = mantel_test(-distances.loc[ids, ids].to_numpy(), matrix, permutations, random)
            row |= {"similarity_spearman": r, "similarity_p": p}
        rows.append(row)
    return rows


def sharing(shared: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Channels that all classes share, summed over sites, by criterion and k, beside chance."""
    if not len(shared):
        return None
    sums = shared.groupby(["criterion", "k"], as_index=False).agg(
        shared=("shared", "sum"),
        by_chance=("shared_by_chance", "sum"),
        n_sites=("site", "nunique"),
        n_classes=("n_classes", "min"),
    )
    return _records(sums)


def class_metric_summary(metrics: pd.DataFrame, floor: pd.DataFrame) -> dict[str, Any] | None:
    """Mean and range of each metric over classes, beside the same for halves of the reals."""
    if not len(metrics):
        return None
    names = metrics.set_index("class_id").class_name
    result: dict[str, Any] = {}
    for metric in METRICS:
        values = metrics.set_index("class_id")[metric].astype(float)
        floors = {kind: _mean(part[metric]) for kind, part in floor.groupby("comparison")}
        result[metric] = {
            "mean": _mean(values),
            "min": float(values.min()),
            "min_class": names[values.idxmin()],
            "max": float(values.max()),
            "max_class": names[values.idxmax()],
            "half_real_against_real": floors.get("real_real"),
            "half_fake_against_real": floors.get("fake_real"),
        }
    return result


def heavy_tails(awareness: pd.DataFrame) -> dict[str, Any] | None:
    """Where gains change sign, and how far the two estimators are apart there and elsewhere."""
    if not len(awareness):
        return None
    best = best_estimates(awareness)
    crossing = np.minimum(best.gain_sign_probability, 1 - best.gain_sign_probability)
    result: dict[str, Any] = {
        "n_channels_and_classes": len(best),
        "share_of_large_sign_probability": float((crossing > LARGE_SIGN_PROBABILITY).mean()),
        "largest_sign_probability": float(crossing.max()),
        "by_site": {
            int(site): float((part > LARGE_SIGN_PROBABILITY).mean()) for site, part in crossing.groupby(best.site)
        },
        "estimator_gap": None,
    }
    exact, sampled = (awareness[awareness.estimator == name] for name in ("closed_form", "monte_carlo"))
    if len(exact) and len(sampled):
        both = exact.merge(sampled, on=CHANNEL, suffixes=("", "_sampled"))
        gap = (both.category_awareness_sampled - both.category_awareness).abs()
        either = np.minimum(both.gain_sign_probability, 1 - both.gain_sign_probability)
        light = either < LIGHT_TAIL
        errors = (gap / both.category_awareness_stderr_sampled)[light]
        result["estimator_gap"] = {
            "light_tails_largest_in_stderr": _largest(errors),
            "light_tails_largest": _largest(gap[light]),
            "heavy_tails_largest": _largest(gap[either > LARGE_SIGN_PROBABILITY]),
        }
    return result


def _interval(values: Array, resamples: int, random: np.random.Generator) -> list[float] | None:
    if len(values) < 2:
        return None
    interval = bootstrap_mean(values, resamples, random)
    return [interval.low, interval.high]


def _mean(values: Any) -> float | None:  # noqa: ANN401
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else None


def _largest(values: pd.Series) -> float | None:
    return float(values.max()) if len(values) else None


def _records(frame: pd.DataFrame) -> list[dict[str, Any]] | None:
    return records(frame) if len(frame) else None


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Python numbers for NumPy's, and null for what is not finite: JSON has neither."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
