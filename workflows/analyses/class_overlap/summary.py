"""Mean overlap of the classes' top channels, tested against what makes classes similar (Fig. 5a)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cawa_core.statistics.mantel import mantel_tests
from cawa_core.statistics.similarity import centroid_distances
from cawa_core.tables import Manifest
from cawa_core.worlds.factors import NEITHER, Factors
from workflows.analyses.class_overlap import CLASS_OVERLAP_TABLE

KEY = ("criterion", "site", "k")
TEST = ("spearman", "p", "null_std")
"""Results of a Mantel test."""
FEWEST_CLASSES = 4
"""Smallest number of classes for a Mantel test; with fewer there is too little to permute."""

Counts = NDArray[np.uint16]
Classes = tuple[int, ...]


def overlap_summary(
    manifest: Manifest, centroids: pd.DataFrame, permutations: int, random: np.random.Generator
) -> list[dict[str, Any]] | None:
    """Summarise mean overlap by criterion, site and k, and its relation to similarity of real classes (Mantel test).

    All tests over the same classes share their permutations.
    """
    distances = centroid_distances(centroids)
    rows = []
    tests_by_classes = defaultdict(list)
    for group in manifest.row_groups(
        CLASS_OVERLAP_TABLE.name, [*KEY, "class_a", "class_b", "overlap", "overlap_by_chance"]
    ):
        row = {name: group[name][0].as_py() for name in KEY}
        overlaps = group["overlap"].to_numpy()
        rows.append(row | {"overlap": float(overlaps.mean(dtype=np.float64)), "by_chance": _overlap_by_chance(group)})
        rows[-1] |= dict.fromkeys(("similarity_spearman", "similarity_p", "similarity_null_std"))
        if distances is not None:
            classes, counts = _common_pairs(group, distances, np.rint(overlaps * row["k"]).astype(np.uint16))
            if len(classes) >= FEWEST_CLASSES:
                tests_by_classes[classes].append((rows[-1], counts))
    for classes, tests in tests_by_classes.items():
        assert distances is not None
        nearness = -distances.loc[list(classes), list(classes)].to_numpy()
        results = mantel_tests(nearness, np.stack([counts for _, counts in tests]), permutations, random)
        for (row, _), r, p, spread in zip(tests, *results, strict=True):
            row |= {"similarity_spearman": float(r), "similarity_p": float(p), "similarity_null_std": float(spread)}
    return sorted(rows, key=lambda row: [row[name] for name in KEY]) or None


def factor_summary(
    manifest: Manifest, factors: Factors, permutations: int, random: np.random.Generator
) -> list[dict[str, Any]] | None:
    """Summarise the overlap of the pairs that share each known factor, and of those that share none.

    There are Mantel tests of the overlap against whether a pair shares the factor; all other pairs are the contrast.

    Args:
        manifest: results of the folder.
        factors: known factors of the classes.
        permutations: permutations of the classes behind each test.
        random: source of the permutations.

    Returns:
        A row per criterion, site, k and factor, and one per criterion, site and k for the pairs that share no factor.
    """
    values = {factor: np.array(of_classes) for factor, of_classes in factors.items()}
    rows: list[dict[str, Any]] = []
    tests_by_classes = defaultdict(list)
    for group in manifest.row_groups(
        CLASS_OVERLAP_TABLE.name, [*KEY, "class_a", "class_b", "overlap", "overlap_by_chance"]
    ):
        key = {name: group[name][0].as_py() for name in KEY}
        a, b, overlaps = (group[name].to_numpy() for name in ("class_a", "class_b", "overlap"))
        sharing = {factor: of_classes[a] == of_classes[b] for factor, of_classes in values.items()}
        sharing[NEITHER] = ~np.any(list(sharing.values()), axis=0)
        of_factors = {}
        for factor, pairs in sharing.items():
            mean = float(overlaps[pairs].mean(dtype=np.float64)) if pairs.any() else None
            row = key | {"factor": factor, "n_pairs": int(pairs.sum()), "overlap": mean}
            of_factors[factor] = row | {"by_chance": _overlap_by_chance(group), **dict.fromkeys(TEST)}
        rows += of_factors.values()
        classes = tuple(np.union1d(a, b).tolist())
        if len(classes) >= FEWEST_CLASSES:
            tests_by_classes[classes].append((of_factors, np.rint(overlaps * key["k"]).astype(np.uint16)))
    for classes, tests in tests_by_classes.items():
        counts = np.stack([counts for _, counts in tests])
        for factor, of_classes in values.items():
            shared = np.equal.outer(of_classes[list(classes)], of_classes[list(classes)]).astype(np.float64)
            results = mantel_tests(shared, counts, permutations, random)
            for (of_factors, _), *result in zip(tests, *results, strict=True):
                of_factors[factor] |= dict(zip(TEST, map(float, result), strict=True))
    return sorted(rows, key=lambda row: [row[name] for name in KEY]) or None


def _overlap_by_chance(group: pa.Table) -> float:
    return float(group["overlap_by_chance"][0].as_py())


def _common_pairs(group: pa.Table, distances: pd.DataFrame, counts: Counts) -> tuple[Classes, Counts]:
    """Return the classes with both overlaps and a distance, ascending, and the counts of their pairs in that order."""
    a, b = (group[name].to_numpy() for name in ("class_a", "class_b"))
    known = np.union1d(
        a[:1], b[a == a[0]]
    )  # pairs are in ascending order, so the first class is paired with all others
    classes = np.intersect1d(known, distances.index.to_numpy())
    if len(classes) < len(known):
        counts = counts[np.isin(a, classes) & np.isin(b, classes)]
    return tuple(classes.tolist()), counts
