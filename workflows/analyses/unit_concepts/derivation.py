"""Derivation of ``unit_concepts``: counts summed over classes, and tests against chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from cawa_core.dissection.counts import intersection_over_union
from cawa_core.statistics.many_tests import adjusted
from cawa_core.tables import PublishedFile, publish
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses.dissection import COUNTS, DISSECTION_TABLE
from workflows.analyses.unit_concepts import FEWEST_OVERLAP, LEVEL, UNIT_CONCEPTS_TABLE
from workflows.interface import Derivation, NoOptions

KEY = list(UNIT_CONCEPTS_TABLE.key)


class UnitConceptsDerivation(Derivation[NoOptions]):
    """Derivation of ``unit_concepts`` from the counts of each class."""

    def files(self) -> list[PublishedFile]:
        """Write the table."""
        columns = [*KEY, "threshold", *COUNTS]
        parts = []
        for site in self.manifest.table(SITES_TABLE.name).site:
            rows = self.manifest.rows(DISSECTION_TABLE.name, columns, sites=[int(site)]).to_pandas()
            parts.append(summed_over_classes(rows))
        table = tested(pd.concat(parts, ignore_index=True))
        rows = {name: table[name].to_numpy() for name in UNIT_CONCEPTS_TABLE.columns}
        return list(publish(self.manifest.storage, "all", {UNIT_CONCEPTS_TABLE.name: rows}, self.audit))


def summed_over_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum the counts of each unit and concept over classes, whose label maps are permuted independently."""
    sums = {name: (name, "sum") for name in COUNTS}
    with_concept = rows.assign(n_classes=rows.present > 0)
    return with_concept.groupby(KEY, as_index=False, sort=True).agg(
        threshold=("threshold", "first"), n_classes=("n_classes", "sum"), **sums
    )


def tested(counts: pd.DataFrame) -> pd.DataFrame:
    """Add the overlaps, their tests against chance, and which units are interpretable."""
    on, present, both, chance = (counts[name].to_numpy() for name in ("on", "present", "both", "both_by_chance"))
    iou = intersection_over_union(on, present, both)
    deviation = np.sqrt(counts.both_by_chance_variance.to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(deviation > 0, (both - chance) / deviation, 0.0)  # a unit that is on everywhere tells nothing
    p_value = ndtr(-score)
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
