"""Gains that change sign, and how far the estimators of awareness differ for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cawa_core.rendering.claims import NOTE, Claim
from cawa_core.rendering.html_tables import table_of
from cawa_core.rendering.sections import Section, Tables
from cawa_core.tables import Manifest
from workflows.analyses.awareness import AWARENESS, AWARENESS_TABLE, AwarenessOptions
from workflows.analyses.awareness.sites import Matrix, SiteRows, read_site
from workflows.interface import Content, Findings, Results

LARGE_SIGN_PROBABILITY = 1e-3
"""Probability of the rarer sign of a gain above which sampled means of β/γ are unreliable."""
LIGHT_TAIL = 1e-6
"""Probability of the rarer sign below which no sample in ten thousand comes near a zero gain."""
COLUMNS = ("category_awareness", "category_awareness_stderr", "gain_sign_probability")
GAPS = ("light_tails_largest_in_stderr", "light_tails_largest", "heavy_tails_largest")


class AwarenessResults(Results[AwarenessOptions]):
    """Heavy tails of sampled awareness."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the tails of sampled awareness."""
        return {"heavy_tails": heavy_tails(findings.manifest)}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """State whether gains change sign."""
        tails = summary.get("heavy_tails")
        return [tail_note(tails)] if tails else []

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section on gains that change sign."""
        tails = summary["heavy_tails"]
        return [tail_section(tails)] if tails else []


def heavy_tails(manifest: Manifest) -> dict[str, Any] | None:
    """Summarise where gains change sign, and how far the two estimators differ there and elsewhere."""
    counts = {}
    large = {}
    largest = []
    gaps = []
    for site in manifest.sites(AWARENESS_TABLE.name):
        rows = read_site(manifest, site, COLUMNS)
        crossing = _rarer_sign_probability(rows.best("gain_sign_probability"))[rows.known]
        counts[site] = crossing.size
        large[site] = int((crossing > LARGE_SIGN_PROBABILITY).sum())
        largest.append(_largest(crossing))
        gaps += _gaps(rows)
    if not counts:
        return None
    return {
        "n_channels_and_classes": sum(counts.values()),
        "share_of_large_sign_probability": sum(large.values()) / sum(counts.values()),
        "largest_sign_probability": _largest(np.array(largest)),
        "heavy_tail": LARGE_SIGN_PROBABILITY,
        "light_tail": LIGHT_TAIL,
        "by_site": {site: large[site] / counts[site] for site in counts},
        "estimator_gap": {name: _largest_known([gap[name] for gap in gaps]) for name in GAPS} if gaps else None,
    }


def _rarer_sign_probability(gain_sign_probability: Matrix) -> Matrix:
    return np.minimum(gain_sign_probability, 1 - gain_sign_probability)


def _gaps(rows: SiteRows) -> list[dict[str, float | None]]:
    """Return the largest gaps between sampled and closed-form category awareness; empty without both."""
    exact, sampled = rows.closed_form, rows.sampled
    if exact is None or sampled is None:
        return []
    both = exact.known & sampled.known
    gap = np.abs(sampled.columns["category_awareness"] - exact.columns["category_awareness"])[both]
    crossing = _rarer_sign_probability(exact.columns["gain_sign_probability"])[both]
    light = crossing < LIGHT_TAIL
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = gap / sampled.columns["category_awareness_stderr"][both]
    values = errors[light], gap[light], gap[crossing > LARGE_SIGN_PROBABILITY]
    return [dict(zip(GAPS, map(_largest, values), strict=True))]


def _largest(values: Matrix) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else None


def _largest_known(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def tail_note(tails: Mapping[str, Any]) -> Claim:
    """State how likely gains are to change sign, and how well the estimators agree."""
    share = tails["share_of_large_sign_probability"]
    largest = tails["largest_sign_probability"] or 0.0
    light = tails["light_tail"]
    evidence = (
        f"In {share:.1%} of the channel-class pairs, the gain changes sign with a probability above "
        f"{tails['heavy_tail']:g}; the highest probability of any pair is {largest:.2g}."
    )
    gap = tails["estimator_gap"]
    if gap and gap["light_tails_largest_in_stderr"] is not None:
        evidence += (
            f" Where this probability is below {light:g}, the closed form and sampling agree to within "
            f"{gap['light_tails_largest_in_stderr']:.1f} standard errors."
        )
    if gap and gap["heavy_tails_largest"] is not None:
        evidence += (
            f" Where it is above {tails['heavy_tail']:g}, they differ by up to {gap['heavy_tails_largest']:.2g}: "
            "use the closed form there."
        )
    if share:
        claim = "Gains change sign, so sampled awareness has heavy tails."
    else:
        claim = "Gains keep their sign." if largest < light else "Gains rarely change sign."
    return Claim(claim, NOTE, evidence, "Heavy tails of β/γ")


def tail_section(tails: Mapping[str, Any]) -> Section:
    """Build the section on gains that change sign, and what that does to sampled awareness."""
    rows = [{"site": int(site), "share": share} for site, share in tails["by_site"].items()]
    columns = {"site": "site", "share": "share of channel-class pairs"}
    table = table_of(
        f"Share of channel-class pairs whose gain changes sign with a probability above {tails['heavy_tail']:g}, by "
        "site",
        columns,
        rows,
        digits=4,
    )
    lead = (
        "Category awareness is the mean of the ratio offset / gain of a batch norm, both of which vary with the "
        "latent code. Where the gain can cross zero, this ratio has no finite variance, and its worst sample "
        "dominates a sampled mean. The closed form (a principal value) does not depend on samples, and the robust "
        "latent awareness, computed from quartiles, is finite everywhere."
    )
    return Section(AWARENESS.name, "Gains that change sign", lead, (), (table,))
