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
from cawa_core.rendering.sections import with_intervals_in_words
from cawa_core.statistics.verdicts import joint_verdict
from cawa_core.tables import Manifest
from cawa_core.worlds.factors import Factors
from workflows.analyses.hybrids import HYBRID_MIXTURES_TABLE, HYBRID_PREDICTIONS_TABLE
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

SMALLEST_CROSSED = 0.1
"""Smallest share of images with factors of both classes that counts, beyond that among unmixed images."""
MIXTURE = ("kind", "first_site", "k")
"""Columns that tell the mixtures of a pair apart."""
OTHER = "other"
"""Combination of an image whose class shares some factor with neither class."""


def factor_summary(manifest: Manifest, factors: Factors, resamples: ClassResamples) -> dict[str, Any] | None:
    """Summarise which class the factors of hybrids come from, over pairs of classes that differ in all of them.

    An image is crossed if the evaluator assigns it to a class that combines factors of both classes.

    Returns:
        ``shares``: share of the images of the most harmonious mixture by kind and combination of factors; ``mixtures``:
        share of crossed images of every mixture tried; ``crossed``: that of each class by the mixture that crosses most
        in the other classes, by kind, against the larger share among the unmixed images of either class. All are means
        over input classes. None if there are no such pairs.
    """
    chosen = _shares(manifest.rows(HYBRID_PREDICTIONS_TABLE.name).to_pandas(), factors, ("kind",))
    tried = _shares(manifest.rows(HYBRID_MIXTURES_TABLE.name).to_pandas(), factors, MIXTURE)
    if chosen.empty or tried.empty:
        return None
    by_class = chosen.groupby(["kind", "class_id"]).mean()
    rows = []
    for kind in KINDS:
        means = resamples.means(by_class[by_class.index.isin([kind], level="kind")])
        rows += [
            {"kind": kind, "combination": name, "share": means[name], "share_ci": means[f"{name}_ci"]}
            for name in chosen.columns
        ]
    harmonious = _crossed(by_class).unstack("kind")
    unmixed = harmonious[["input", "reference"]].max(axis=1)
    of_mixtures = _crossed(tried).groupby([*MIXTURE, "class_id"]).mean()
    mixtures = [
        dict(zip(MIXTURE, mixture, strict=True)) | resamples.means(shares.rename("crossed").to_frame())
        for mixture, shares in of_mixtures.groupby(list(MIXTURE))
    ]
    compared = []
    for kind in MIXED:
        crossed = chosen_on_others(of_mixtures.xs(kind).unstack("class_id"))
        columns = {"crossed": crossed, "unmixed": unmixed, "gained": crossed - unmixed, "harmonious": harmonious[kind]}
        frame = pd.DataFrame(columns)
        compared.append({"kind": kind, **resamples.means(frame), "typical_gain": typical_value(frame.gained)})
    return {
        "factors": list(factors),
        "n_pairs": len(chosen.loc[KINDS[0]]),
        "n_classes": len(unmixed),
        "shares": rows,
        "mixtures": mixtures,
        "crossed": compared,
    }


def chosen_on_others(shares: pd.DataFrame) -> pd.Series[float]:
    """Return each class's share by the mixture with the largest mean share in the other classes.

    A class has no part in the choice of its mixture, so chance does not raise its share.

    Args:
        shares: share of each mixture (row) in each class (column).

    Returns:
        Shares by class; NaN if there is only one class.
    """
    values = shares.to_numpy(dtype=np.float64)
    sums_of_rest = values.sum(axis=1, keepdims=True) - values
    picked = values[sums_of_rest.argmax(axis=0), np.arange(values.shape[1])]
    return pd.Series(picked if values.shape[1] > 1 else np.nan, index=shares.columns, dtype=float)


def _shares(counts: pd.DataFrame, factors: Factors, key: Sequence[str]) -> pd.DataFrame:
    """Return the share of images by combination of factors, for pairs of classes that differ in all factors.

    Args:
        counts: numbers of images by predicted class.
        factors: known factors of the classes.
        key: columns that tell images of a pair apart; the index besides the classes.
    """
    values = {factor: np.array(of_classes) for factor, of_classes in factors.items()}
    differs = [of_classes[counts.class_id] != of_classes[counts.reference_id] for of_classes in values.values()]
    counts = counts[np.all(differs, axis=0)]
    counts = counts.assign(combination=_combinations(counts, values))
    index = [*key, "class_id", "reference_id"]
    images = counts.pivot_table(index=index, columns="combination", values="n_images", aggfunc="sum", fill_value=0)
    columns = [_words(factors, origins) for origins in product(("input", "reference"), repeat=len(factors))]
    images = images.reindex(columns=[*columns, OTHER], fill_value=0).astype(float)
    return images.div(images.sum(axis=1), axis=0)


def _crossed(shares: pd.DataFrame) -> pd.Series[float]:
    """Return the share of images with factors of both classes: all but the first, the last and other combinations."""
    return shares.iloc[:, 1:-2].sum(axis=1)


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
    """Decide whether mixtures combine factors of both classes, for every kind of mixture.

    The estimate is the median over classes of the share of crossed images (:func:`factor_summary`), minus the larger
    share among the unmixed images of either class, where they are errors.

    Args:
        entry: entry ``hybrid_factors`` of the summary.
        names: names of the classes by index.
        words: what kinds are called.
    """
    verdicts = [typical_verdict(row["typical_gain"], 1, SMALLEST_CROSSED) for row in entry["crossed"]]
    parts = "; ".join(
        f"{_share(row['crossed'])} by {words[row['kind']]} (beyond unmixed images: "
        f"{typical_words(row['typical_gain'], names)}), {_share(row['harmonious'])} by the most harmonious mixture"
        for row in entry["crossed"]
    )
    evidence = (
        f"Share of the hybrids of {counted(entry['n_pairs'], 'pair')} of classes, which differ in "
        f"{' and '.join(entry['factors'])}, that the evaluator assigns to a class with factors of both. By the "
        f"site and number of channels that are best for the other classes: {parts}."
    )
    first, second = (*entry["factors"], "others")[:2]
    claim = f"Hybrids combine the {first} of one class with the {second} of the other."
    return Claim(claim, joint_verdict(verdicts), evidence, "Sec. 5.2, Fig. 7")


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else percentage(value)


def mixture_table(entry: Mapping[str, Any], words: Mapping[str, str]) -> HtmlTable:
    """Show the share of crossed images by every mixture that was tried; arguments as in :func:`factor_claim`."""
    rows = [
        {**with_intervals_in_words(row, ("crossed",)), "words": words[row["kind"]]}
        for row in sorted(entry["mixtures"], key=lambda row: (MIXED.index(row["kind"]), row["first_site"], row["k"]))
    ]
    columns = {"words": "kind", "first_site": "from site", "k": "channels"}
    columns |= {"crossed": "images with factors of both", "crossed_in": "95% interval of the mean"}
    return table_of("Hybrids that combine factors of both classes, by mixture tried, means over classes", columns, rows)


def factor_table(entry: Mapping[str, Any], words: Mapping[str, str]) -> HtmlTable:
    """Show the share of the images of each kind by the class that its factors come from; arguments as in the claim."""
    rows: dict[str, dict[str, Any]] = {}
    for row in entry["shares"]:
        rows.setdefault(row["kind"], {"words": words[row["kind"]]})[row["combination"]] = row["share"]
    columns = {"words": "kind"} | {row["combination"]: row["combination"] for row in entry["shares"]}
    caption = (
        f"Where the {' and the '.join(entry['factors'])} of the most harmonious hybrids come from, shares of images"
    )
    return table_of(caption, columns, list(rows.values()))


def factor_lead(entry: Mapping[str, Any]) -> str:
    """Say what the table of factors shows."""
    return (
        f" What makes the classes is known: for pairs of classes that differ in {' and '.join(entry['factors'])}, a "
        "table shows which class each comes from in the class that the evaluator sees. Harmony does not look for "
        "images that combine them, so another table has the share of such images by every mixture tried."
    )
