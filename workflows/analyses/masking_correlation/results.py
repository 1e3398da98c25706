"""How well awareness and other predictors predict the effect of masking, over classes (Sec. 4.1, Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from cawa_core.rendering.claims import Claim
from cawa_core.rendering.sections import Section, Tables, class_names
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.verdicts import SIGNIFICANT
from cawa_core.tables import Manifest
from cawa_core.tables.schema import ALL_SITES, Table
from workflows.analyses.awareness import AWARENESS_TABLE
from workflows.analyses.masking import MASKING_TABLE
from workflows.analyses.masking_correlation import MASKING_CORRELATION_TABLE
from workflows.analyses.masking_correlation.claims import best_predictor, prediction_claims
from workflows.analyses.masking_correlation.sections import (
    DRAWN_AWARENESS,
    DRAWN_MASKING,
    curve_pairs,
    curves,
    predictors,
)
from workflows.interface import Content, Findings, NoOptions, Results
from workflows.results.class_resamples import ClassResamples, mean_of_known, typical_value

COEFFICIENTS = ("pearson_smoothed", "pearson", "spearman")


class MaskingCorrelationResults(Results[NoOptions]):
    """Correlations of every predictor with every effect of masking."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the correlations."""
        correlations = findings.manifest.table(MASKING_CORRELATION_TABLE.name)
        return {"masking_prediction": masking_prediction(correlations, findings.resamples)}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether category awareness predicts the effect, and name the best predictor."""
        rows = summary.get("masking_prediction")
        return [*prediction_claims(rows, class_names(summary)), *best_predictor(rows)] if rows else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read all correlations, and what the curves of some class-site pairs show."""
        correlations = manifest.table(MASKING_CORRELATION_TABLE.name)
        pairs = curve_pairs(correlations)
        return {
            MASKING_CORRELATION_TABLE.name: correlations,
            DRAWN_MASKING: rows_of_pairs(manifest, MASKING_TABLE, pairs),
            DRAWN_AWARENESS: rows_of_pairs(manifest, AWARENESS_TABLE, pairs),
        }

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section with curves, and that on all predictors."""
        built = (curves(tables, summary), predictors(summary))
        return [section for section in built if section is not None]


def masking_prediction(correlations: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Summarise how well each predictor predicts each effect: means over classes, by site and (site -1) over sites."""
    if not len(correlations):
        return None
    means = correlations.groupby(["target", "predictor", "class_id"], as_index=False).mean(numeric_only=True)
    tests = correlations.groupby(["target", "predictor"]).p_value
    q_values = tests.transform(lambda p_values: adjusted(p_values.to_numpy(dtype=np.float64)))
    beats_null = (q_values <= SIGNIFICANT) & (correlations.pearson_smoothed > 0)
    significant = correlations.assign(significant=beats_null.astype(float).where(q_values.notna()))
    frame = pd.concat([significant, _over_sites(significant, means)], ignore_index=True)
    rows = []
    for (target, predictor, site), part in frame.groupby(["target", "predictor", "site"]):
        row: dict[str, Any] = {
            "target": target,
            "predictor": predictor,
            "site": int(cast(int, site)),
            "n_classes": part.class_id.nunique(),
        }
        row |= resamples.means(part[list(COEFFICIENTS)])
        row |= {"null_std": mean_of_known(part.null_std), "share_significant": mean_of_known(part.significant)}
        if site == ALL_SITES:
            row["typical_spearman"] = typical_value(part.set_index("class_id").spearman)
        rows.append(row)
    return rows


def _over_sites(correlations: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    shares = correlations.groupby(["target", "predictor", "class_id"], as_index=False).significant.mean()
    return means.merge(shares).assign(site=ALL_SITES)


def rows_of_pairs(manifest: Manifest, table: Table, pairs: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Read a table's rows of some (class, site) pairs."""
    parts = [manifest.rows(table.name, sites=[site], class_ids=[class_id]).to_pandas() for class_id, site in pairs]
    empty = table.schema.empty_table().to_pandas()
    rows: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else empty
    return rows
