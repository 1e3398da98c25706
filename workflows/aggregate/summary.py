"""``summary.json``: the figures for scripts, dashboards and the head of the report."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pandas as pd

from cawa_core.audit_record import AuditRecord
from cawa_core.class_metrics.records import METRICS
from cawa_core.plain_data import plain
from cawa_core.rendering.findings import findings
from cawa_core.rendering.html_tables import records
from cawa_core.seeds import SHARED_CLASS, random_generator
from cawa_core.table_schema import ALL_SITES
from cawa_core.tables import Manifest
from workflows.aggregate.applications import edit_summary, hybrid_summary, segmentation_summary
from workflows.aggregate.class_resamples import ClassResamples, mean_of_known
from workflows.aggregate.heavy_tails import heavy_tails
from workflows.aggregate.overlap_summary import overlap_summary
from workflows.spec import AuditSpec

SIGNIFICANT = 0.05
COEFFICIENTS = ("pearson_smoothed", "pearson", "spearman")


def summarise(manifest: Manifest, audit: AuditRecord, spec: AuditSpec) -> dict[str, Any]:
    """Compute all sections that the recorded tables allow; the section of a missing stage is null."""
    with ThreadPoolExecutor(1) as reader:
        tails = reader.submit(heavy_tails, manifest)  # it reads most data, while the other sections compute
        sections = {**_sections(manifest, spec), "heavy_tails": tails.result()}
    seconds = pd.Series([receipt.seconds for receipt in manifest.receipts.values()], dtype=float)
    by_stage = seconds.groupby([receipt.stage for receipt in manifest.receipts.values()]).sum().round(1)
    sections = plain(sections)
    summary: dict[str, Any] = plain(
        {
            "audit": audit.hash,
            "generator": spec.generator,
            "classes": list(spec.classes),
            "class_names": audit.class_names,
            "quarantined": sorted(manifest.quarantined),
            "findings": [dataclasses.asdict(finding) for finding in findings(sections)],
            **sections,
            "seconds": by_stage.to_dict(),
        }
    )
    return summary


def _sections(manifest: Manifest, spec: AuditSpec) -> dict[str, Any]:
    resamples = ClassResamples(spec.seed, spec.bootstraps)
    mantel = random_generator(spec.seed, SHARED_CLASS, 0, "mantel")
    return {
        "masking_prediction": masking_prediction(manifest.table("masking_correlation"), resamples),
        "masking_controls": masking_controls(manifest.table("masking_controls"), resamples),
        "overlap": overlap_summary(manifest, manifest.table("class_centroids"), spec.permutations, mantel),
        "sharing": sharing(manifest.table("shared_channels")),
        "class_metrics": class_metric_summary(manifest.table("class_metrics"), manifest.table("class_metric_floor")),
        "n_real": _range(manifest.table("class_metrics").n_real),
        "metric_correlation": _records(manifest.table("metric_correlation")),
        "segmentation": segmentation_summary(manifest, resamples),
        "hybrids": hybrid_summary(manifest, resamples),
        "edits": edit_summary(manifest, resamples),
    }


def masking_prediction(correlations: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise how well each predictor predicts each effect: means over classes, by site and (site -1) over sites."""
    if not len(correlations):
        return None
    means = correlations.groupby(["target", "predictor", "class_id"], as_index=False).mean(numeric_only=True)
    beats_null = (correlations.p_value < SIGNIFICANT) & (correlations.pearson_smoothed > 0)
    significant = correlations.assign(significant=beats_null.astype(float).where(correlations.p_value.notna()))
    frame = pd.concat([significant, _over_sites(significant, means)], ignore_index=True)
    rows = []
    for (target, predictor, site), part in frame.groupby(["target", "predictor", "site"]):
        row = {
            "target": target,
            "predictor": predictor,
            "site": int(cast(int, site)),
            "n_classes": part.class_id.nunique(),
        }
        row |= resamples.means(part[list(COEFFICIENTS)])
        row |= {"null_std": mean_of_known(part.null_std), "share_significant": mean_of_known(part.significant)}
        rows.append(row)
    return rows


def _over_sites(correlations: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    shares = correlations.groupby(["target", "predictor", "class_id"], as_index=False).significant.mean()
    return means.merge(shares).assign(site=ALL_SITES)


def masking_controls(controls: pd.DataFrame, resamples: ClassResamples) -> dict[str, Any] | None:
    """Summarise Fig. 3: lowest, random and highest masks of one size, by site and (site -1) at all sites at once."""
    if not len(controls):
        return None
    effects = ["score_change", "score_change_abs"]
    by_class = controls.groupby(["site", "control", "class_id"], as_index=False)[effects].mean()
    rows = []
    for (site, control), part in by_class[by_class.control != "no_op"].groupby(["site", "control"]):
        row = {"site": int(cast(int, site)), "control": control, "n_classes": len(part)}
        rows.append(row | resamples.means(part[effects]))
    everywhere = by_class[by_class.site == ALL_SITES].pivot(index="class_id", columns="control", values=effects)
    return {
        "rows": rows,
        "highest_minus_random": _difference(everywhere, "highest", "random", resamples),
        "random_minus_lowest": _difference(everywhere, "random", "lowest", resamples),
        "no_op_largest_change": float(controls[controls.control == "no_op"].score_change_abs.max()),
    }


def _difference(everywhere: pd.DataFrame, high: str, low: str, resamples: ClassResamples) -> dict[str, Any] | None:
    if everywhere.empty:
        return None
    difference = (everywhere["score_change"][high] - everywhere["score_change"][low]).to_frame("mean")
    means = resamples.means(difference)
    return {"mean": means["mean"], "ci": means["mean_ci"], "n_classes": len(difference)}


def sharing(shared: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Count the channels that all classes share, summed over sites, by criterion and k, with the count by chance."""
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
    """Summarise mean and range of each metric over classes, with the floor from halves of the real images."""
    if not len(metrics):
        return None
    names = metrics.set_index("class_id").class_name
    result: dict[str, Any] = {}
    for metric in METRICS:
        values = metrics.set_index("class_id")[metric].astype(float)
        floors = {kind: mean_of_known(part[metric]) for kind, part in floor.groupby("comparison")}
        result[metric] = {
            "mean": mean_of_known(values),
            "min": float(values.min()),
            "min_class": names.loc[cast(int, values.idxmin())],
            "max": float(values.max()),
            "max_class": names.loc[cast(int, values.idxmax())],
            "half_real_against_real": floors.get("real_real"),
            "half_fake_against_real": floors.get("fake_real"),
        }
    return result


def _range(counts: pd.Series[Any]) -> list[int] | None:
    return [int(counts.min()), int(counts.max())] if len(counts) else None


def _records(frame: pd.DataFrame) -> list[dict[str, Any]] | None:
    return records(frame) if len(frame) else None
