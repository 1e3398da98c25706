"""Sections on awareness against the effect of masking (Fig. 4), and on which predictor predicts that effect best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.rendering.claims import interval_words, signed
from cawa_core.rendering.figures import Picture
from cawa_core.rendering.glyphs import shortened
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import Section, Tables, class_names, site_words
from cawa_core.statistics.correlation import smoothed
from cawa_core.statistics.estimates import best_estimates
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.masking.sites import TARGET_WORDS
from workflows.analyses.masking_correlation import MASKING_CORRELATION_TABLE, figures
from workflows.analyses.masking_correlation.predictors import PREDICTOR_WORDS
from workflows.interface import Content

DRAWN_MASKING = "masking of the pairs drawn as curves"
DRAWN_AWARENESS = "awareness of the pairs drawn as curves"
"""Names of what is read of other analyses' tables: rows of the class-site pairs that are drawn as curves."""
CURVES = 4
"""Class-site pairs with the highest r that are drawn as curves, like the paper's Fig. 4."""


def curves(tables: Tables, summary: Content) -> Section | None:
    """Build the section on Fig. 4, signed and absolute, with the permutation null of every class and site.

    There is none without correlations: with one or two groups per site, or no change at all.
    """
    correlations = tables[MASKING_CORRELATION_TABLE.name]
    if not curve_pairs(correlations):
        return None
    names = class_names(summary)
    pictures = []
    rows = []
    for target, words in TARGET_WORDS.items():
        ranked = _ranked(correlations, target)
        named = records(ranked.assign(words=words, **{"class": [names[class_id] for class_id in ranked.class_id]}))
        pictures.append(figures.null_band(f"null-{target}", f"{words.capitalize()}, all pairs", named))
        selected = _best_and_median(ranked)
        for place, row in enumerate(records(selected)):
            rank = "median pair" if place == len(selected) - 1 else f"no. {place + 1}"
            pictures.append(_curve(tables, row, names[row["class_id"]], words, rank))
        rows += named
    columns = {
        "class": "class",
        "site": "site",
        "words": "effect",
        "pearson_smoothed": "smoothed r",
        "null_mean": "null mean",
        "null_std": "null SD",
        "p_value": "p",
        "pearson": "r",
        "spearman": "rank r",
        "n_groups": "channels or groups",
    }
    lead = (
        "The blue line is category awareness, by which channels are ordered. Each dot shows by how much masking one "
        "channel or group lowers the probability of the class (below 0, the probability rises); the red line smooths "
        "the dots as in the paper. For the signed and for the absolute change, the figures show the four class-site "
        "pairs with the highest r (the paper shows its best pairs, too), and then the median pair. Smoothing alone "
        "raises r: the grey bands contain 95% of the smoothed r of randomly permuted changes."
    )
    table = table_of("Category awareness against the effect of masking, by class and site", columns, rows)
    return Section("curves", "Awareness and the effect of masking", lead, tuple(pictures), (table,))


def curve_pairs(correlations: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the (class, site) pairs drawn as curves; the sections need no other rows of ``masking``."""
    selected = pd.concat([_best_and_median(_ranked(correlations, target)) for target in TARGET_WORDS])
    return sorted(set(zip(selected.class_id.tolist(), selected.site.tolist(), strict=True)))


def _ranked(correlations: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the correlations of category awareness with one effect, the highest smoothed r first."""
    known = correlations[correlations.predictor == "category_awareness"].dropna(subset="pearson_smoothed")
    return known[known.target == target].sort_values("pearson_smoothed", ascending=False)


def _best_and_median(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first few pairs, as in the paper, and then of the median pair."""
    return pd.concat([ranked.head(CURVES), ranked.iloc[len(ranked) // 2 : len(ranked) // 2 + 1]])


def _curve(tables: Tables, row: Mapping[str, Any], class_name: str, words: str, rank: str) -> Picture:
    masking = tables[DRAWN_MASKING]
    awareness = tables[DRAWN_AWARENESS]
    here = (masking.class_id == row["class_id"]) & (masking.site == row["site"])
    groups = masking[here].sort_values("group")
    there = (awareness.class_id == row["class_id"]) & (awareness.site == row["site"])
    values = best_estimates(awareness[there]).set_index("channel").category_awareness
    mean_awareness = np.array([values[list(channels)].mean() for channels in groups.channels])
    change = groups[row["target"]].to_numpy(dtype=np.float64)
    r = f"r = {signed(row['pearson_smoothed'])}"
    null = f"null {signed(row['null_mean'])} ± {row['null_std']:.2f}, p = {row['p_value']:.3f}"
    title = f"{shortened(class_name)}, site {row['site']} ({rank}): {r}\n{null}"
    name = f"curve-{row['target']}-{rank.replace('no. ', '').replace(' ', '-')}"
    units = "channels" if groups.channels.str.len().max() == 1 else "groups of channels"
    alt = f"{class_name} at site {row['site']}: {words} for {units} in order of awareness; {r}, {null}"
    return figures.masking_curve(name, title, mean_awareness, change, smoothed(change), (units, words), alt)


def predictors(summary: Content) -> Section | None:
    """Build the section on which predictor predicts the effect of masking best, site by site."""
    rows = summary["masking_prediction"]
    if all(row["spearman"] is None for row in rows or ()):
        return None
    pictures = tuple(
        figures.predictor_lines(
            f"predictors-{target}",
            words.capitalize(),
            [row for row in rows if row["target"] == target and row["site"] != ALL_SITES],
        )
        for target, words in TARGET_WORDS.items()
    )
    columns = {
        "words": "predictor",
        "target": "effect",
        "where": "site",
        "spearman": "rank r",
        "interval": "95% interval",
        "pearson_smoothed": "smoothed r",
        "pearson": "r",
        "null_std": "null SD of smoothed r",
        "share_significant": "share with r > 0, adjusted p ≤ 0.05",
    }
    described = [
        {
            **row,
            "words": PREDICTOR_WORDS[row["predictor"]],
            "where": site_words(row["site"]),
            "interval": interval_words(row["spearman_ci"]).removeprefix("95% interval "),
        }
        for row in rows
    ]
    lead = (
        "No predictor needs a mask. Gradient screening takes one gradient per latent (it is shown only where masks are "
        "exact; elsewhere it is part of the estimate). The figures show the rank correlation over the channels of a "
        "site, averaged over classes, with 95% intervals over classes. All predictors are tested in the same way "
        "against the same null."
    )
    table = table_of("All predictors and effects", columns, described)
    return Section("predictors", "Predictors of the masking effect", lead, pictures, (table,))
