"""Claims on which classes share channels, decided by Mantel tests (Fig. 5a)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cawa_core.rendering.claims import Claim, percentage, signed
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.verdicts import FAILS, HOLDS, IN_PART, OPEN, SMALLEST_CORRELATION, Estimate, decide
from cawa_core.tables.schema import ALL_SITES
from cawa_core.worlds.factors import NEITHER
from workflows.results.rankings import CRITERION_WORDS

DECISIVE = "category_highest"
"""Criterion without which a claim holds in part only."""
SOURCE = "Sec. 4.1, Fig. 5a"


@dataclasses.dataclass(frozen=True)
class OverlapTest:
    """A Mantel test of the overlap of the classes' top channels, by one criterion over all sites.

    Attributes:
        criterion: what ranks the channels.
        estimate: the correlation, with an interval of two standard deviations of its permutations to either side, and
            the adjusted p-value.
    """

    criterion: str
    estimate: Estimate

    @classmethod
    def of(cls, criterion: str, correlation: float, null_std: float, q_value: float) -> OverlapTest:
        """Return the test of a correlation."""
        half_width = 2 * null_std
        return cls(criterion, Estimate(correlation, correlation - half_width, correlation + half_width, q_value))

    @property
    def words(self) -> str:
        """Criterion, correlation and adjusted p-value."""
        estimate = self.estimate
        return f"{CRITERION_WORDS[self.criterion]} {signed(estimate.value)} (adjusted p = {estimate.p_value:.3f})"


def similarity_claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Decide whether similar classes share channels, by Mantel tests of the largest top sets over all sites.

    p-values are adjusted over the criteria (Benjamini-Hochberg).
    """
    tested = [row for row in of_largest_sets(rows) if row["similarity_p"] is not None]
    if not tested:
        return []
    q_values = adjusted(np.array([row["similarity_p"] for row in tested], dtype=np.float64))
    tests = [
        OverlapTest.of(row["criterion"], row["similarity_spearman"], row["similarity_null_std"], q_value)
        for row, q_value in zip(tested, q_values, strict=True)
    ]
    evidence = (
        f"Rank correlation, over pairs of classes, of the overlap of their top {tested[0]['k']} channels with the "
        f"similarity of their real images (Mantel test), for channels ranked by {_listed(tests)}."
    )
    return [Claim("Similar classes share channels.", overlap_verdict(tests), evidence, SOURCE)]


def factor_claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Decide for each known factor whether classes that share it share channels; see :func:`similarity_claims`.

    p-values are adjusted over the criteria and factors.
    """
    largest = of_largest_sets(rows)
    means = {(row["factor"], row["criterion"]): row["overlap"] for row in largest}
    tested = [row for row in largest if row["p"] is not None]
    q_values = adjusted(np.array([row["p"] for row in tested], dtype=np.float64))
    tests_by_factor: dict[str, list[OverlapTest]] = {}
    for row, q_value in zip(tested, q_values, strict=True):
        test = OverlapTest.of(row["criterion"], row["spearman"], row["null_std"], q_value)
        tests_by_factor.setdefault(row["factor"], []).append(test)
    claims = []
    for factor, tests in tests_by_factor.items():
        shared, different = (means.get((group, DECISIVE)) for group in (factor, NEITHER))
        compared = ""
        if shared is not None and different is not None:
            compared = (
                f" By {CRITERION_WORDS[DECISIVE]}, such classes share {percentage(shared)} of the channels, and "
                f"classes without a common factor {percentage(different)}."
            )
        evidence = (
            f"Rank correlation, over pairs of classes, of the overlap of their top {tested[0]['k']} channels with "
            f"whether they share the {factor} (Mantel test), for channels ranked by {_listed(tests)}.{compared}"
        )
        claim = f"Classes that share the {factor} share channels."
        claims.append(Claim(claim, overlap_verdict(tests), evidence, SOURCE))
    return claims


def of_largest_sets(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of the largest top sets over all sites."""
    everywhere = [row for row in rows if row["site"] == ALL_SITES]
    largest = max((row["k"] for row in everywhere), default=None)
    return [row for row in everywhere if row["k"] == largest]


def overlap_verdict(tests: Sequence[OverlapTest]) -> str:
    """Return the verdict of a claim that Mantel tests by several criteria decide.

    The claim holds if the correlation of category awareness reaches the smallest one that counts and its test passes
    among all tests (Benjamini-Hochberg at 0.05), and in part if only another one does. It does not hold if the interval
    of every criterion rules that correlation out.
    """
    verdicts = {test.criterion: decide(test.estimate, 1, SMALLEST_CORRELATION) for test in tests}
    if set(verdicts.values()) == {FAILS}:
        return FAILS
    holding = [criterion for criterion, verdict in verdicts.items() if verdict == HOLDS]
    return HOLDS if DECISIVE in holding else IN_PART if holding else OPEN


def _listed(tests: Sequence[OverlapTest]) -> str:
    return ", ".join(test.words for test in sorted(tests, key=lambda test: -test.estimate.value))
