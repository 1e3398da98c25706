"""Factors of both classes in their hybrids, in worlds where the factors of every class are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.errors import counted
from cawa_core.hybrids.kinds import KINDS, MIXED
from cawa_core.rendering.claims import Claim, percentage
from cawa_core.rendering.html_tables import HtmlTable, table_of
from cawa_core.statistics.verdicts import joint_verdict
from cawa_core.tables import Manifest
from cawa_core.worlds.factors import Factors
from workflows.analyses.hybrids import HYBRID_PREDICTIONS_TABLE
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

SMALLEST_CROSSED = 0.1
"""Smallest share of images with factors of both classes that counts, beyond that among unmixed images."""
OTHER = "other"
"""Combination of an image whose class shares some factor with neither class."""


def factor_summary(manifest: Manifest, factors: Factors, resamples: ClassResamples) -> dict[str, Any] | None:
    """Summarise which class the factors of hybrids come from, over pairs of classes that differ in all of them.

    Returns:
        ``shares``: share of the images by kind and combination of factors, means over input classes; ``crossed``: share
        of the images that combine factors of both classes, by kind of mixture, against the larger share of such images
        among the unmixed ones of either class. None if there are no such pairs.
    """
    counts = manifest.rows(HYBRID_PREDICTIONS_TABLE.name).to_pandas()
    values = {factor: np.array(of_classes) for factor, of_classes in factors.items()}
    differs = [of_classes[counts.class_id] != of_classes[counts.reference_id] for of_classes in values.values()]
    counts = counts[np.all(differs, axis=0)]
    if counts.empty:
        return None
    counts["combination"] = _combinations(counts, values)
    columns = [_words(factors, origins) for origins in product(("input", "reference"), repeat=len(factors))]
    key = ["kind", "class_id", "reference_id"]
    images = counts.pivot_table(index=key, columns="combination", values="n_images", aggfunc="sum", fill_value=0)
    shares = images.reindex(columns=[*columns, OTHER], fill_value=0).astype(float)
    shares = shares.div(shares.sum(axis=1), axis=0)
    by_class = shares.groupby(["kind", "class_id"]).mean()
    rows = []
    for kind in KINDS:
        means = resamples.means(by_class.loc[kind])
        rows += [
            {"kind": kind, "combination": name, "share": means[name], "share_ci": means[f"{name}_ci"]}
            for name in shares.columns
        ]
    crossed = by_class[columns[1:-1]].sum(axis=1).unstack("kind")
    unmixed = crossed[["input", "reference"]].max(axis=1)
    n_pairs = len(shares.loc[KINDS[0]])
    return {
        "factors": list(factors),
        "n_pairs": n_pairs,
        "n_classes": len(crossed),
        "shares": rows,
        "crossed": [_crossed(kind, crossed[kind], unmixed, resamples) for kind in MIXED],
    }


def _crossed(
    kind: str, crossed: pd.Series[float], unmixed: pd.Series[float], resamples: ClassResamples
) -> dict[str, Any]:
    columns = pd.DataFrame({"crossed": crossed, "unmixed": unmixed, "gained": crossed - unmixed})
    return {"kind": kind, **resamples.means(columns), "typical_gain": typical_value(columns.gained)}


def _combinations(counts: pd.DataFrame, values: Mapping[str, Any]) -> list[str]:
    """Return the class that each factor of the predicted classes comes from, in words."""
    origins = []
    for of_classes in values.values():
        predicted = of_classes[counts.predicted_class]
        is_input = predicted == of_classes[counts.class_id]
        is_reference = predicted == of_classes[counts.reference_id]
        origins.append(np.where(is_input, "input", np.where(is_reference, "reference", OTHER)))
    return [OTHER if OTHER in row else _words(values, row) for row in zip(*origins, strict=True)]


def _words(factors: Mapping[str, Any], origins: Sequence[str]) -> str:
    return ", ".join(f"{factor} of the {origin}" for factor, origin in zip(factors, origins, strict=True))


def factor_claim(entry: Mapping[str, Any], names: Mapping[int, str], words: Mapping[str, str]) -> Claim:
    """Decide whether the mixtures of the largest harmony combine factors of both classes, for every kind of mixture.

    The estimate is the median over classes of the share of such images, minus the larger share among the unmixed images
    of either class, where they are errors.

    Args:
        entry: entry ``hybrid_factors`` of the summary.
        names: names of the classes by index.
        words: what kinds are called.
    """
    verdicts = [typical_verdict(row["typical_gain"], 1, SMALLEST_CROSSED) for row in entry["crossed"]]
    parts = "; ".join(
        f"{percentage(row['crossed'])} by {words[row['kind']]} ({typical_words(row['typical_gain'], names)}, beyond "
        "unmixed images)"
        for row in entry["crossed"]
    )
    factors = " and ".join(entry["factors"])
    evidence = (
        f"Share of the hybrids, of {counted(entry['n_pairs'], 'pair')} of classes that differ in {factors}, that the "
        f"evaluator assigns to a class with factors of both: {parts}. Mixtures are chosen by harmony, which asks for "
        "an evaluator that is undecided between the two classes."
    )
    first, second = (*entry["factors"], "others")[:2]
    claim = f"The most harmonious hybrids combine the {first} of one class with the {second} of the other."
    return Claim(claim, joint_verdict(verdicts), evidence, "Sec. 5.2, Fig. 7")


def factor_table(entry: Mapping[str, Any], words: Mapping[str, str]) -> HtmlTable:
    """Show the share of the images of each kind by the class that its factors come from; arguments as in the claim."""
    rows: dict[str, dict[str, Any]] = {}
    for row in entry["shares"]:
        rows.setdefault(row["kind"], {"words": words[row["kind"]]})[row["combination"]] = row["share"]
    columns = {"words": "kind"} | {row["combination"]: row["combination"] for row in entry["shares"]}
    caption = f"Where the {' and the '.join(entry['factors'])} of hybrids come from, shares of images"
    return table_of(caption, columns, list(rows.values()))


def factor_lead(entry: Mapping[str, Any]) -> str:
    """Say what the table of factors shows."""
    return (
        f" What makes the classes is known: for pairs of classes that differ in {' and '.join(entry['factors'])}, a "
        "table shows which class each comes from in the class that the evaluator sees."
    )
