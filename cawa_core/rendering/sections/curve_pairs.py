"""Which class-site pairs the report shows as curves: of all that was masked, it needs their rows alone."""

from __future__ import annotations

import pandas as pd

from cawa_core.rendering.sections.base import TARGET_WORDS
from cawa_core.rendering.sections.masking import CURVES


def curve_pairs(correlations: pd.DataFrame) -> list[tuple[int, int]]:
    """(class, site) pairs of highest smoothed r and the median one, for each kind of change; ascending."""
    known = correlations[correlations.predictor == "category_awareness"].dropna(subset="pearson_smoothed")
    pairs = set()
    for target in TARGET_WORDS:
        own = known[known.target == target].sort_values("pearson_smoothed", ascending=False)
        if len(own):
            chosen = pd.concat([own.head(CURVES), own.iloc[[len(own) // 2]]])
            pairs |= set(zip(chosen.class_id.tolist(), chosen.site.tolist(), strict=True))
    return sorted(pairs)
