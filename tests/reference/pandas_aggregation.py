"""All derived tables by pandas: joins, group-bys and pivots of whole tables, row by row, permutation by permutation.

Written for clarity, in the memory of the whole model; what ``workflows.results`` must equal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from scipy.stats import rankdata

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.correlation import smoothing_window
from cawa_core.statistics.permutation_null import ROUNDING, random_orders
from cawa_core.tables.schema import ALL_SITES
from workflows.options.audit import AuditSpec

Array = NDArray[np.float64]

CHANNEL = ["class_id", "site", "channel"]
PREDICTORS = {
    "category_awareness": "category_awareness",
    "category_awareness_sampled": "category_awareness_sampled",
    "activation_probability": "activation_probability",
    "expected_activation": "expected_activation",
    "screening": None,
}
"""Predictor => column of the awareness table; screening has one of its own for each target."""
TARGETS = ("score_change", "score_change_abs", "log_score_change", "log_score_change_abs")


def pandas_tables(awareness: pd.DataFrame, masking: pd.DataFrame, spec: AuditSpec) -> dict[str, pd.DataFrame]:
    """Derived tables of channels from the whole stage tables; empty frames where there is nothing to derive."""
    statistics = channel_statistics(awareness)
    rankings = class_rankings(statistics, masking)
    rows = {
        "masking_correlation": masking_correlation_rows(statistics, masking, spec) if len(masking) else (),
        "class_overlap": class_overlap_rows(rankings, spec.overlap_k),
        "shared_channels": shared_channel_rows(rankings, spec.shared_k),
        "top_channel_popularity": popularity_rows(rankings, spec.shared_k),
    }
    return {name: pd.DataFrame(list(made)) for name, made in rows.items()}


def best_estimates(awareness: pd.DataFrame) -> pd.DataFrame:
    """One row a (class, site, channel): the closed form where there is one, else sampled."""
    exact, sampled = (awareness[awareness.estimator == name] for name in ("closed_form", "monte_carlo"))
    if not len(exact) or not len(sampled):
        return sampled if len(sampled) else exact
    return pd.concat([exact, sampled]).drop_duplicates(CHANNEL)


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
    wide = keyed.astype(dict.fromkeys(predictors, "float64"))  # means of float32 that are equal must come out equal
    means = wide.groupby(["class_id", "site", "group"], as_index=False)[predictors].mean()
    means = means.astype(dict.fromkeys(predictors, "float32"))
    for (class_id, site), rows in masking.merge(means, on=["class_id", "site", "group"]).groupby(["class_id", "site"]):
        for target in TARGETS:
            yield from _correlations(rows, int(class_id), int(site), target, spec)


def _correlations(
    rows: pd.DataFrame, class_id: int, site: int, target: str, spec: AuditSpec
) -> Iterator[dict[str, Any]]:
    null, known_before = None, None
    for predictor, column in PREDICTORS.items():
        values = _float(rows[column or _screened_column(target)])
        if predictor == "screening":
            values = np.where(rows.method == "exact", values, np.nan)
        known = np.isfinite(values) & np.isfinite(_float(rows[target]))
        if not known.any():
            continue
        change = _float(rows[target])[known]
        if null is None or not np.array_equal(known, known_before):
            random = random_generator(spec.seed, SHARED_CLASS, site, f"permute {len(change)}")
            null = smoothed(change[random_orders(len(change), spec.permutations, random).T])
            known_before = known
        key = {"class_id": class_id, "site": site, "predictor": predictor, "target": target}
        yield key | correlation(values[known], change, null)


def correlation(predictor: Array, change: Array, null: Array) -> dict[str, float]:
    """One predictor with one effect ``[n]``, and with permuted and smoothed ones ``[permutations, n]``."""
    names = ("pearson_smoothed", "pearson", "spearman", "null_mean", "null_std", "p_value")
    if len(predictor) < 3 or np.ptp(predictor) == 0 or np.ptp(change) == 0:
        return {"n_groups": len(predictor), **dict.fromkeys(names, float("nan"))}
    order = np.argsort(predictor, kind="stable")
    x, y = predictor[order], change[order]
    observed, by_chance = float(pearson(x, smoothed(y))), pearson(x, null)
    p_value = (1 + np.sum(np.abs(by_chance) >= abs(observed) - ROUNDING)) / (1 + len(null))
    ranks = float(pearson(rankdata(x), rankdata(y)))
    found = observed, float(pearson(x, y)), ranks, by_chance.mean(), by_chance.std(ddof=1)
    return {"n_groups": len(x), **dict(zip(names, (*found, p_value), strict=True))}


def pearson(x: Array, y: Array) -> Array:
    """Pearson r of ``x [n]`` with every row of ``y [..., n]``, all varying."""
    x, y = x - x.mean(), y - y.mean(axis=-1, keepdims=True)
    return y @ x / np.sqrt((x @ x) * np.square(y).sum(axis=-1))


def smoothed(values: Array) -> Array:
    """Savitzky-Golay along the last axis; unchanged where there are too few values."""
    window = smoothing_window(values.shape[-1])
    return savgol_filter(values, window, 3, axis=-1) if window else values


def top_members(ranking: Array, k: int) -> NDArray[np.bool_]:
    """Who is among the k highest of each class ``[n_classes, C]``; ties fall to the lower channel index."""
    order = np.argsort(-ranking, axis=1, kind="stable")[:, :k]
    members = np.zeros(ranking.shape, dtype=np.bool_)
    np.put_along_axis(members, order, values=True, axis=1)
    return members


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
        sets = top_members(ranking.values, k).astype(np.float64)
        matrix = sets @ sets.T / k
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
        counts = top_members(ranking.values, k).sum(axis=0)
        row = {"site": ranking.site, "k": k, "criterion": ranking.criterion, "n_channels": channels}
        for name, fewest in (
            ("shared", n_classes),
            ("in_nine_tenths", -(-9 * n_classes // 10)),
            ("in_half", -(-n_classes // 2)),
        ):
            chance = k / channels
            by_chance = [
                math.comb(n_classes, m) * chance**m * (1 - chance) ** (n_classes - m)
                for m in range(fewest, n_classes + 1)
            ]
            row[name] = int((counts >= fewest).sum())
            row[f"{name}_by_chance"] = channels * math.fsum(by_chance)
        yield row | {"n_classes": n_classes}


def popularity_rows(rankings: Iterable[Ranking], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Rows of ``top_channel_popularity``: in the top sets of how many classes each channel is (Appendix C: k = 1)."""
    by_site = [ranking for ranking in rankings if ranking.site != ALL_SITES]
    for ranking, k in _ranked_sizes(by_site, sorted({1, *sizes}), largest_share=1.0):
        for channel, count in zip(ranking.channels, top_members(ranking.values, k).sum(axis=0), strict=True):
            if count:
                key = {"site": ranking.site, "k": k, "criterion": ranking.criterion, "channel": int(channel)}
                yield {**key, "n_classes": int(count)}


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
