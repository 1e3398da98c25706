"""Derivation of ``unit_concepts``: counts summed over classes, tests against chance, and what each site draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import pearson3

from cawa_core.dissection.counts import intersection_over_union
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.statistics.intervals import bootstrap_counts
from cawa_core.statistics.many_tests import adjusted
from cawa_core.tables import PublishedFile, publish, rows_of
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses.dissection import COUNTS, DISSECTION_TABLE
from workflows.analyses.unit_concepts import (
    FEWEST_OVERLAP,
    LEVEL,
    SITE_CONCEPTS_TABLE,
    SITE_UNITS_TABLE,
    UNIT_CONCEPTS_TABLE,
)
from workflows.analyses.unit_concepts.sites import OVERLAP, Row, site_counts
from workflows.interface import Derivation, NoOptions

KEY = list(UNIT_CONCEPTS_TABLE.key)
ROUNDING = 1e-6
"""Variance below that of any count of pixels that varies."""


class UnitConceptsDerivation(Derivation[NoOptions]):
    """Derivation of ``unit_concepts``, ``site_units`` and ``site_concepts`` from the counts of each class."""

    def files(self) -> list[PublishedFile]:
        """Write the tables."""
        sites = [int(site) for site in self.manifest.table(SITES_TABLE.name).site]
        parts = [summed_over_classes(self._rows(site, ["threshold", *COUNTS])) for site in sites]
        units = tested(pd.concat(parts, ignore_index=True))
        of_sites, of_concepts = self._counted(units)
        tables = {
            UNIT_CONCEPTS_TABLE.name: {name: units[name].to_numpy() for name in UNIT_CONCEPTS_TABLE.columns},
            SITE_UNITS_TABLE.name: rows_of(SITE_UNITS_TABLE.name, of_sites),
            SITE_CONCEPTS_TABLE.name: rows_of(SITE_CONCEPTS_TABLE.name, of_concepts),
        }
        return list(publish(self.manifest.storage, "all", tables, self.audit))

    def _rows(self, site: int, columns: list[str]) -> pd.DataFrame:
        rows: pd.DataFrame = self.manifest.rows(DISSECTION_TABLE.name, [*KEY, *columns], sites=[site]).to_pandas()
        return rows

    def _counted(self, units: pd.DataFrame) -> tuple[list[Row], list[Row]]:
        """Return the rows of ``site_units`` and of ``site_concepts``."""
        of_sites: list[Row] = []
        of_concepts: list[Row] = []
        for site in units.site.unique().tolist():
            by_class = self._rows(site, ["class_id", *OVERLAP])
            random = random_generator(self.spec.seed, SHARED_CLASS, 0, "resampled concepts")
            draws = bootstrap_counts(by_class.class_id.nunique(), self.spec.bootstraps, random)
            of_site, rows = site_counts(by_class, units[units.site == site], draws)
            of_sites.append({"site": site, **of_site})
            of_concepts += [{"site": site, **row} for row in rows]
        return of_sites, of_concepts


def summed_over_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum the counts of each unit and concept over classes, whose label maps are permuted independently."""
    sums = {name: (name, "sum") for name in COUNTS}
    with_concept = rows.assign(n_classes=rows.present > 0)
    return with_concept.groupby(KEY, as_index=False, sort=True).agg(
        threshold=("threshold", "first"), n_classes=("n_classes", "sum"), **sums
    )


def tested(counts: pd.DataFrame) -> pd.DataFrame:
    """Add the overlaps, their tests against chance, and which units are interpretable.

    The tail of the overlap by chance is that of the Pearson type III law with its mean, variance and skewness, as usual
    for permutation statistics (Mielke and Berry, Permutation Methods, 2007): rare concepts make it heavier than that of
    a normal law.
    """
    on, present, both, chance = (counts[name].to_numpy() for name in ("on", "present", "both", "both_by_chance"))
    iou = intersection_over_union(on, present, both)
    variance = counts.both_by_chance_variance.to_numpy()
    varies = variance > ROUNDING  # the overlap of a unit that is on everywhere is the same with any label maps
    deviation = np.sqrt(np.where(varies, variance, 1))
    skewness = np.where(varies, counts.both_by_chance_third_moment.to_numpy() / deviation**3, 0)
    p_value = np.where(varies, pearson3.sf((both - chance) / deviation, skewness), 1.0)
    q_value = adjusted(p_value)
    is_best = counts.assign(iou=iou).groupby(["site", "channel"]).iou.rank(method="first", ascending=False) == 1
    with np.errstate(invalid="ignore"):
        iou_by_chance = chance / (on + present - chance)
    return counts.assign(
        iou=iou,
        iou_by_chance=iou_by_chance,
        p_value=p_value,
        q_value=q_value,
        is_best=is_best,
        is_interpretable=is_best & (iou > FEWEST_OVERLAP) & (q_value <= LEVEL),
    )
