"""Class metrics, total awareness (Fig. 10), and heavy tails of awareness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cawa_core.rendering import figures
from cawa_core.rendering.findings import METRIC_SIGNS, real_images_in_words, signed
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections.base import Section, Tables

FLOOR_COLUMNS = {
    "metric": "metric",
    "mean": "all samples",
    "half_fake_against_real": "half the generated images",
    "half_real_against_real": "real against real",
    "min": "lowest",
    "min_class": "class of the lowest",
    "max": "highest",
    "max_class": "class of the highest",
}


def quality(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on class metrics, their floor, and their correlation with total awareness (Fig. 10)."""
    metrics = tables["class_metrics"]
    floor = tables["class_metric_floor"]
    if metrics.empty:
        return None
    pictures = []
    for row in summary["metric_correlation"] or []:
        if row["metric"] in METRIC_SIGNS:
            x = metrics.total_awareness.to_numpy()
            y = metrics[row["metric"]].to_numpy(dtype=np.float64)
            r = f"{signed(row['pearson'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"
            label = row["metric"].upper().replace("_", "-") if row["metric"] in ("fid", "ms_ssim") else row["metric"]
            pictures.append(figures.metric_scatter(f"metric-{row['metric']}", label, x, y, list(metrics.class_name), r))
    halves = floor.pivot(index="class_id", columns="comparison", values="fid")
    joined = records(metrics.merge(halves.add_prefix("fid_"), left_on="class_id", right_index=True))
    columns = {
        "class_name": "class",
        "total_awareness": "total awareness",
        "classifier_accuracy": "accuracy",
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "coverage": "coverage",
        "fid": "FID",
        "fid_fake_real": "FID, half the generated images",
        "fid_real_real": "FID, real against real",
        "kid": "KID",
        "ms_ssim": "MS-SSIM",
        "n_real": "n real",
        "n_fake": "n generated",
    }
    correlations = {"metric": "metric", "pearson": "r", "ci_low": "95% from", "ci_high": "to", "spearman": "rank r"}
    results = [table_of("Quality and diversity by class", columns, joined)]
    if summary["metric_correlation"]:
        rows = summary["metric_correlation"]
        results.append(
            table_of("Correlation with total awareness over classes", {**correlations, "n_classes": "n"}, rows)
        )
    floors = [{"metric": name, **values} for name, values in summary["class_metrics"].items()]
    results.append(table_of("Means over classes, with all samples and with half of them", FLOOR_COLUMNS, floors))
    lead = (
        "Features and classifications come from the networks named in the protocol, so compare distances only with "
        "audits of the same protocol. FID grows as samples get fewer: the last two FID columns are comparable because "
        "they use equal numbers of images, and the distance between the two halves of the real images is the floor."
        f"{real_images_in_words(metrics.n_real.min(), metrics.n_real.max())} Protocol: {metrics.protocol.iloc[0]}."
    )
    return Section("quality", "Quality, diversity and total awareness", lead, tuple(pictures), tuple(results))


def heavy_tails(tables: Tables, summary: Mapping[str, Any]) -> Section | None:  # noqa: ARG001
    """Build the section on gains that change sign, and what that does to sampled awareness."""
    tails = summary["heavy_tails"]
    if not tails:
        return None
    rows = [{"site": int(site), "share": share} for site, share in tails["by_site"].items()]
    columns = {"site": "site", "share": "share of channels and classes"}
    table = table_of(
        f"Share whose gain changes sign with a probability above {tails['heavy_tail']:g}, by site",
        columns,
        rows,
        digits=4,
    )
    lead = (
        "Category awareness is the mean of offset / gain, a ratio of normal variables. Where the gain can cross zero, "
        "this ratio has no finite variance, and a sampled mean is dominated by its worst sample. The closed form (a "
        "principal value) is not, and the robust latent awareness, computed from quartiles, is finite everywhere."
    )
    return Section("tails", "Gains that change sign", lead, (), (table,))
