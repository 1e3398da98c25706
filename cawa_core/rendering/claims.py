"""Claims of the paper, tested on the numbers of an audit and stated in plain words.

The rule of the verdicts is in :mod:`cawa_core.statistics.verdicts`. A claim that is tested in another way says how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

NOTE = "note"
"""Verdict of a statement that the paper does not make; notes come after all claims."""
MOST_NAMED = 5
"""Most classes that a sentence names."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim, its verdict on this model, the evidence, and the part of the paper that makes it."""

    claim: str
    verdict: str
    evidence: str
    source: str


def signed(value: float | None, digits: int = 2) -> str:
    """Format a number with its sign, or return a dash if it is unknown."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval_words(interval: Sequence[float] | None, digits: int = 2) -> str:
    """Put a 95% interval ``[low, high]`` into words."""
    if interval is None:
        return "no interval"
    return f"95% interval {signed(interval[0], digits)} to {signed(interval[1], digits)}"


def percentage(share: float) -> str:
    """Format a share as a percentage, with a decimal place if it is below 1%."""
    return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"


def named_classes(class_ids: Sequence[int], names: Mapping[int, str]) -> str:
    """List classes by name, the first few of many; a class without a name by its index."""
    words = [names.get(class_id, f"class {class_id}") for class_id in class_ids]
    if len(words) > MOST_NAMED:
        words = [*words[:MOST_NAMED], f"{len(words) - MOST_NAMED} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def real_images_in_words(fewest: int, most: int) -> str:
    """Explain how unequal numbers of real images affect comparisons of classes; empty if they are equal."""
    if fewest == most:
        return ""
    return (
        f" Classes have {fewest:,} to {most:,} real images; for classes with fewer, FID has a larger bias, and "
        "precision and similar metrics rest on fewer samples."
    )
