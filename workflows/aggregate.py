"""From the stages' tables to the derived ones: correlations, overlaps, sharing, popularity."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.schemas import ALL_SITES
from cawa_core.seeds import SHARED_CLASS, random_generator
from cawa_core.specs import AuditSpec
from cawa_core.statistics import overlap
from cawa_core.statistics.correlation import masking_correlation, pearson, smoothed_permutations, spearman
from cawa_core.statistics.estimates import CHANNEL, best_estimates
from cawa_core.statistics.intervals import bootstrap_pearson
from cawa_core.tables import Manifest, Rows

Array = NDArray[np.float64]

PREDICTORS = {
    "category_awareness": "category_awareness",
    "category_awareness_sampled": "category_awareness_sampled",
    "activation_probability": "activation_probability",
    "expected_activation": "expected_activation",
    "screening": None,
}
"""Predictor => column of the awareness table; screening has one of its own for each target."""
TARGETS = ("score_change", "score_change_abs", "log_score_change", "log_score_change_abs")
METRICS = ("precision", "recall", "density", "coverage", "fid", "kid", "ms_ssim", "classifier_accuracy")


def derived_tables(manifest: Manifest, spec: AuditSpec) -> dict[str, Rows]:
    """All derived tables that the recorded stages allow."""
    awareness = channel_statistics(manifest.table("awareness"))
    masking, metrics = manifest.table("masking"), manifest.table("class_metrics")
    tables: dict[str, Rows] = {}
    if len(awareness) and len(masking):
        tables["masking_correlation"] = _columns(masking_correlation_rows(awareness, masking, spec))
    if len(awareness):
        rankings = class_rankings(awareness, masking)
        tables["class_overlap"] = _columns(class_overlap_rows(rankings, spec.overlap_k))
        tables["shared_channels"] = _columns(shared_channel_rows(rankings, spec.shared_k))
        tables["top_channel_popularity"] = _columns(popularity_rows(rankings))
    if len(metrics) > 2:
        tables["metric_correlation"] = _columns(metric_correlation_rows(metrics, spec))
    return {name: rows for name, rows in tables.items() if rows}


def channel_statistics(awareness: pd.DataFrame) -> pd.DataFrame:
    """One row a (class, site, channel): closed form where there is one, sampled values beside it.

    ``latent_ranking`` is the sampled latent awareness if all rows were sampled, else the robust one: one criterion
    means one thing for every class.
    """
    best, sampled = best_estimates(awareness), awareness[awareness.estimator == "monte_carlo"]
    beside = sampled[[*CHANNEL, "category_awareness", "latent_awareness"]].rename(
        columns={"category_awareness": "category_awareness_sampled", "latent_awareness": "latent_awareness_sampled"}
    )
    joined = best.merge(beside, on=CHANNEL, how="left", validate="one_to_one")
    all_sampled = len(sampled) == len(best)
    latent = joined.latent_awareness_sampled if all_sampled else joined.latent_awareness_robust
    return joined.assign(latent_ranking=latent)


def masking_correlation_rows(
    awareness: pd.DataFrame, masking: pd.DataFrame, spec: AuditSpec
) -> Iterator[dict[str, Any]]:
    """Rows of ``masking_correlation``: every predictor against every target, by class and site."""
    predictors = [column for column in PREDICTORS.values() if column]
    channels = masking[["class_id", "site", "group", "channels"]].explode("channels")
    channels = channels.rename(columns={"channels": "channel"}).astype({"channel": "int32"})
    keyed = channels.merge(awareness, on=["class_id", "site", "channel"], validate="many_to_one")
    means = keyed.groupby(["class_id", "site", "group"], as_index=False)[predictors].mean()
    for (class_id, site), rows in masking.merge(means, on=["class_id", "site", "group"]).groupby(["class_id", "site"]):
        for target in TARGETS:
            random = random_generator(spec.seed, int(class_id), int(site), f"permute {target}")
            yield from _correlations(rows, int(class_id), int(site), target, spec.permutations, random)


def _correlations(
    rows: pd.DataFrame, class_id: int, site: int, target: str, permutations: int, random: np.random.Generator
) -> Iterator[dict[str, Any]]:
    null, known_before = None, None
    for predictor, column in PREDICTORS.items():
        values = _float(rows[column or _screened_column(target)])
        known = np.isfinite(values) & np.isfinite(_float(rows[target]))
        if not known.any():
            continue
        change = _float(rows[target])[known]
        if null is None or not np.array_equal(known, known_before):
            null, known_before = smoothed_permutations(change, permutations, random), known
        correlation = masking_correlation(values[known], change, null)
        key = {"class_id": class_id, "site": site, "predictor": predictor, "target": target}
        yield key | dataclasses.asdict(correlation)


def _screened_column(target: str) -> str:
    return "screened_score_change_abs" if target.endswith("_abs") else "screened_score_change"


@dataclasses.dataclass(frozen=True)
class Ranking:
    """One criterion's values for the ranked channels of one site, or of all: ``[n_classes, C]``, finite."""

    site: int
    criterion: str
    values: Array
    class_ids: tuple[int, ...]
    channels: Array


def class_rankings(awareness: pd.DataFrame, masking: pd.DataFrame) -> list[Ranking]:
    """Every criterion at every site, and over the channels of all sites together."""
    effects = masking[["class_id", "site", "channels", "score_change_abs"]].explode("channels")
    effects = effects.rename(columns={"channels": "channel"}).astype({"channel": "int32"})
    joined = awareness.merge(effects, on=["class_id", "site", "channel"], how="left")
    criteria = {
        "category_highest": joined.category_awareness,
        "category_lowest": -joined.category_awareness,
        "latent_highest": joined.latent_ranking,
        "expected_activation_highest": joined.expected_activation,
        "masking_highest": joined.score_change_abs,
    }
    rankings = []
    for criterion, values in criteria.items():
        frame = joined[["class_id", "site", "channel"]].assign(value=values.where(~joined.inert))
        if frame.value.isna().all():
            continue
        wide = frame.pivot(index="class_id", columns=["site", "channel"], values="value").sort_index(axis=1)
        for site in (ALL_SITES, *wide.columns.unique("site")):
            part = _complete(wide if site == ALL_SITES else wide.loc[:, [site]])
            if part.empty:
                continue
            ids, channels = tuple(map(int, part.index)), part.columns.get_level_values("channel").to_numpy()
            rankings.append(Ranking(int(site), criterion, part.to_numpy(dtype=np.float64), ids, channels))
    return rankings


def _complete(ranking: pd.DataFrame) -> pd.DataFrame:
    """Without the channels that no class ranks (inert ones), then without the classes that lack a value."""
    return ranking.dropna(axis=1, how="all").dropna(axis=0)


def class_overlap_rows(rankings: Iterable[Ranking], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Rows of ``class_overlap`` for all pairs of classes; sets of more than half of the channels say nothing."""
    for ranking, k in _ranked_sizes(rankings, sizes, largest_share=0.5):
        matrix = overlap.overlap_matrix(overlap.top_members(ranking.values, k))
        for a, b in combinations(range(len(ranking.class_ids)), 2):
            yield {
                "site": ranking.site,
                "k": k,
                "criterion": ranking.criterion,
                "class_a": ranking.class_ids[a],
                "class_b": ranking.class_ids[b],
                "overlap": matrix[a, b],
                "overlap_by_chance": k / ranking.values.shape[1],
            }


def shared_channel_rows(rankings: Iterable[Ranking], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Rows of ``shared_channels`` (Table 1 and Appendix C)."""
    by_site = [ranking for ranking in rankings if ranking.site != ALL_SITES]
    for ranking, k in _ranked_sizes(by_site, sizes, largest_share=1.0):
        n_classes, channels = ranking.values.shape
        yield {
            "site": ranking.site,
            "k": k,
            "criterion": ranking.criterion,
            "shared": overlap.shared_by_all(overlap.top_members(ranking.values, k)),
            "shared_by_chance": overlap.shared_by_chance(channels, k, n_classes),
            "n_classes": n_classes,
        }


def popularity_rows(rankings: Iterable[Ranking]) -> Iterator[dict[str, Any]]:
    """Rows of ``top_channel_popularity``: who comes first, and for how many classes (Appendix C)."""
    for ranking in rankings:
        if ranking.site == ALL_SITES:
            continue
        for position, n_classes in overlap.first_choices(ranking.values).items():
            yield {
                "site": ranking.site,
                "channel": int(ranking.channels[position]),
                "criterion": ranking.criterion,
                "n_classes": n_classes,
            }


def metric_correlation_rows(metrics: pd.DataFrame, spec: AuditSpec) -> Iterator[dict[str, Any]]:
    """Rows of ``metric_correlation``: total awareness against each metric over classes (Fig. 10)."""
    for index, metric in enumerate(METRICS):
        known = metrics[["total_awareness", metric]].dropna().to_numpy(dtype=np.float64)
        if len(known) < 3:
            continue
        x, y = known.T
        random = random_generator(spec.seed, SHARED_CLASS, index, "bootstrap")
        interval = bootstrap_pearson(x, y, spec.bootstraps, random)
        yield {
            "metric": metric,
            "pearson": float(pearson(x, y)),
            "spearman": spearman(x, y),
            "ci_low": interval.low,
            "ci_high": interval.high,
            "n_classes": len(x),
        }


def _ranked_sizes(
    rankings: Iterable[Ranking], sizes: Iterable[int], largest_share: float
) -> Iterator[tuple[Ranking, int]]:
    kept = list(sizes)
    for ranking in rankings:
        for k in kept:
            if k <= math.floor(largest_share * ranking.values.shape[1]):
                yield ranking, k


def _float(values: pd.Series) -> Array:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _columns(rows: Iterable[dict[str, Any]]) -> Rows:
    kept = list(rows)
    return {name: [row[name] for row in kept] for name in kept[0]} if kept else {}
