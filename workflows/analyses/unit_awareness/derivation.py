"""Derivation of ``unit_awareness`` and of its rank correlations with the overlap of units and concepts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.correlation import FEWEST_GROUPS, normalised
from cawa_core.statistics.many_tests import adjusted
from cawa_core.tables import PublishedFile, publish
from workflows.analyses.awareness.sites import Matrix
from workflows.analyses.concept_effects import CONCEPT_UNITS_TABLE
from workflows.analyses.unit_awareness import UNIT_AWARENESS_CORRELATION_TABLE, UNIT_AWARENESS_TABLE
from workflows.analyses.unit_concepts import UNIT_CONCEPTS_TABLE
from workflows.interface import Derivation, NoOptions
from workflows.results.sites import SiteResults

PREDICTORS = ("category_awareness", "latent_awareness", "expected_activation", "masking_effect")
"""Columns that are correlated with the overlap beyond chance."""
TARGETS = ("iou_beyond_chance", "weight")
"""Columns that they are correlated with: what a unit overlaps with, and what it causes."""
ROUNDING = 1e-9
"""Null values this much below the observed one still count as equal."""

Array = NDArray[np.float64]


class UnitAwarenessDerivation(Derivation[NoOptions]):
    """Derivation of ``unit_awareness`` and ``unit_awareness_correlation``, site by site."""

    def begin(self) -> None:
        """Prepare the rows of all sites."""
        self._parts: list[pd.DataFrame] = []

    def add_site(self, site: SiteResults) -> None:
        """Average awareness and masking effects of each channel of a site over classes."""
        awareness = site.awareness
        masked = site.masking.by_channel if site.masking else np.full_like(awareness.latent_ranking, np.nan)
        means = {
            "category_awareness": _mean(np.abs(awareness.predictors["category_awareness"])),
            "latent_awareness": _mean(awareness.latent_ranking),
            "expected_activation": _mean(awareness.predictors["expected_activation"]),
            "masking_effect": _mean(masked),
        }
        channels = np.arange(awareness.known.shape[1])
        rows = pd.DataFrame({"site": site.site, "channel": channels, **means})
        self._parts.append(rows.loc[np.flatnonzero(~awareness.inert.all(axis=0))])

    def files(self) -> list[PublishedFile]:
        """Write both tables."""
        concepts = self.manifest.table(UNIT_CONCEPTS_TABLE.name)
        best = concepts[concepts.is_best.astype(bool)]
        gains = best.assign(iou_beyond_chance=best.iou - best.iou_by_chance)
        columns = ["site", "channel", "concept", "iou", "iou_beyond_chance", "is_interpretable"]
        units = pd.concat(self._parts, ignore_index=True).merge(gains[columns], on=["site", "channel"])
        units["weight"] = self._weights(units)
        tables = {
            UNIT_AWARENESS_TABLE.name: _columns(units, UNIT_AWARENESS_TABLE.columns),
            UNIT_AWARENESS_CORRELATION_TABLE.name: _columns(
                self._correlations(units), UNIT_AWARENESS_CORRELATION_TABLE.columns
            ),
        }
        return list(publish(self.manifest.storage, "all", tables, self.audit))

    def _weights(self, units: pd.DataFrame) -> pd.Series[float]:
        """Return the weight of each unit in the optimised set of its concept, which is the same for all classes."""
        keys = ["concept", "site", "channel"]
        class_ids = self.manifest.class_ids(CONCEPT_UNITS_TABLE.name)[:1]
        if not class_ids:
            return pd.Series(np.nan, units.index)
        chosen = self.manifest.rows(CONCEPT_UNITS_TABLE.name, [*keys, "weight"], class_ids=class_ids).to_pandas()
        weights = units[keys].merge(chosen, on=keys, how="left").weight.to_numpy(dtype=np.float64)
        has_set = units.concept.isin(set(chosen.concept)).to_numpy()
        return pd.Series(np.where(has_set, np.nan_to_num(weights), np.nan), units.index)

    def _correlations(self, units: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for site in sorted(units.site.unique()):
            of_site = units[units.site == site]
            for predictor in PREDICTORS:
                random = random_generator(self.spec.seed, SHARED_CLASS, int(site), f"units by {predictor}")
                for target in TARGETS:
                    known = of_site[[predictor, target]].dropna()
                    values = known.to_numpy(dtype=np.float64).T
                    test = rank_test(values[0], values[1], self.spec.permutations, random)
                    key = {"site": site, "predictor": predictor, "target": target}
                    rows.append({**key, "n_channels": len(known), **test})
        table = pd.DataFrame(rows)
        for target in TARGETS:
            here = table.target == target
            table.loc[here, "q_value"] = adjusted(table.p_value[here].to_numpy(dtype=np.float64))
        return table


def rank_test(x: Array, y: Array, permutations: int, random: np.random.Generator) -> dict[str, float]:
    """Test the rank correlation of ``x [n]`` and ``y [n]`` by random orders of the second.

    Returns:
        ``spearman``, ``null_std`` and the two-sided ``p_value``; NaN for fewer than ``FEWEST_GROUPS`` values, or if
        either does not vary.
    """
    if len(x) < FEWEST_GROUPS or not (np.ptp(x) and np.ptp(y)):
        return dict.fromkeys(("spearman", "null_std", "p_value"), float("nan"))
    ranks_x, ranks_y = normalised(rankdata(x)), normalised(rankdata(y))
    observed = float(ranks_x @ ranks_y)
    null = np.array([ranks_x @ random.permutation(ranks_y) for _ in range(permutations)])
    reached = (np.abs(null) >= abs(observed) - ROUNDING).sum()
    return {"spearman": observed, "null_std": float(null.std()), "p_value": float((1 + reached) / (1 + permutations))}


def _mean(values: Matrix) -> Array:
    """Return the mean over classes of the known values of each channel: ``[n_classes, C]`` => ``[C]``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a channel without any value
        means: Array = np.nanmean(np.where(np.isfinite(values), values, np.nan), axis=0, dtype=np.float64)
    return means


def _columns(table: pd.DataFrame, names: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    return {name: table[name].to_numpy() for name in names}
