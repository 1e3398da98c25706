"""Claims of the paper, tested on the numbers of an audit and stated in plain words.

A claim *holds* if the 95% interval over classes lies on the claimed side, *does not hold* if it lies on the other side,
and is *open* if the interval contains zero or does not exist. A claim with several parts must hold in each; otherwise
it holds *in part*. A claim that is tested in another way says how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

HOLDS = "holds"
IN_PART = "holds in part"
FAILS = "does not hold"
OPEN = "open"
NOTE = "note"
"""Verdict of a statement that the paper does not make; notes come after all claims."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim, its verdict on this model, the evidence, and the part of the paper that makes it."""

    claim: str
    verdict: str
    evidence: str
    source: str


def side(interval: Sequence[float | None] | None, sign: int) -> str:
    """Return the verdict on the claim that a quantity has a sign, from its 95% interval ``[low, high]``."""
    known = [end for end in interval or () if end is not None]
    if len(known) < 2:
        return OPEN
    low, high = sorted(sign * end for end in known)
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def joint_verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict of a claim whose parts must all hold."""
    if set(verdicts) == {HOLDS}:
        return HOLDS
    return IN_PART if HOLDS in verdicts else OPEN if OPEN in verdicts else FAILS


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


def real_images_in_words(fewest: int, most: int) -> str:
    """Explain how unequal numbers of real images affect comparisons of classes; empty if they are equal."""
    if fewest == most:
        return ""
    return (
        f" Classes have {fewest:,} to {most:,} real images; for classes with fewer, FID has a larger bias, and "
        "precision and similar metrics rest on fewer samples."
    )
