"""Effects of the masks of one site, as exact and on as many latents as asked for.

Three estimators: ``exact`` masks every latent; ``regression`` masks a few and corrects what screening says of all;
``screening`` masks none. With a target, masks get more latents in rounds until their standard error is small enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.masking.effects import Columns, changes, effect_columns
from cawa_core.masking.sampling import Estimate, regression_mean, sample_mean

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ExactScores = Callable[[range, Indices], tuple[Array, Array]]
"""Latents and masks, both by index => log-probabilities without ``[n]`` and with each mask ``[m, n]``."""

AIMED_AT = "score_change"
"""The effect whose standard error a target is for."""
PEERS_WEIGH = 10
"""As many latents the variances of a site's other masks count for when a mask asks whether it has seen enough."""


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
    """How many latents each mask of a site gets.

    Attributes:
        estimator: ``exact``, ``regression`` or ``screening``.
        latents: all of them: masked by ``exact``, screened by the others; no mask ever gets more.
        exact_latents: how many ``regression`` masks, and how many a mask begins with where there is a target.
        target_stderr: of the change of the probability; 0: none, every mask gets the same latents.
    """

    estimator: str
    latents: int
    exact_latents: int
    target_stderr: float = 0.0

    def rounds(self) -> list[int]:
        """Latents masked after each round: doubling until there are no more."""
        if self.estimator == "screening":
            return []
        first = min(self.exact_latents, self.latents)
        if not self.target_stderr:
            return [self.latents if self.estimator == "exact" else first]
        rounds = [first]
        while rounds[-1] < self.latents:
            rounds.append(min(2 * rounds[-1], self.latents))
        return rounds


@dataclasses.dataclass(frozen=True)
class MaskingEstimates:
    """Rows of a site.

    Attributes:
        columns: effect columns of the ``masking`` table, ``[m]`` each.
        method: of each mask: ``exact``, ``regression`` or ``screening``.
        n_samples: latents that each was masked on, ``[m]``.
    """

    columns: Columns
    method: NDArray[np.str_]
    n_samples: Indices


def estimated_effects(exact: ExactScores, cheap: dict[str, Array], plan: SamplingPlan) -> MaskingEstimates:
    """Estimate the effects of some masks of one class and site.

    Args:
        exact: masks.
        cheap: the effects of the masks by screening, :func:`~cawa_core.masking.effects.changes` of ``[m, latents]``.
        plan: how.
    """
    m = len(cheap[AIMED_AT])
    found: dict[str, Array] = {name: np.full((m, plan.latents), np.nan) for name in cheap}
    n_samples, active, start = np.zeros(m, dtype=np.int64), np.arange(m), 0
    for stop in plan.rounds():
        rows = np.ix_(active, np.arange(start, stop))
        for name, values in changes(*exact(range(start, stop), active)).items():
            found[name][rows] = values
        n_samples[active], start = stop, stop
        if plan.target_stderr:
            active = active[_needs_more(found, cheap, active, stop, plan)]
        if not len(active):
            break
    return _collected(found, cheap, n_samples, plan)


def in_given_order(parts: Sequence[tuple[Indices, MaskingEstimates]]) -> MaskingEstimates:
    """Estimates of several sets of masks as one; each comes with the places of its masks."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    each = [estimates for _, estimates in parts]
    return MaskingEstimates(
        {name: np.concatenate([one.columns[name] for one in each])[order] for name in each[0].columns},
        np.concatenate([one.method for one in each])[order],
        np.concatenate([one.n_samples for one in each])[order],
    )


def _needs_more(
    found: dict[str, Array], cheap: dict[str, Array], masks: Indices, n: int, plan: SamplingPlan
) -> NDArray[np.bool_]:
    """Which masks have not reached the target after n latents.

    A mask that happened to see little change so far must not stop by that luck: its variance is taken together with
    what the screened changes of all latents, scaled as for the other masks of the site, let expect.
    """
    estimate = _estimate(found[AIMED_AT][masks, :n], cheap[AIMED_AT][masks], plan)
    seen, screened = n * estimate.stderr**2, cheap[AIMED_AT][masks].var(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = seen / screened
    known = np.isfinite(ratios)
    expected = screened * (np.median(ratios[known]) if known.any() else 0.0)
    pooled = (n * seen + PEERS_WEIGH * expected) / (n + PEERS_WEIGH)
    needs: NDArray[np.bool_] = np.maximum(seen, pooled) > n * plan.target_stderr**2
    return needs


def _estimate(changed: Array, cheap: Array, plan: SamplingPlan) -> Estimate:
    return regression_mean(changed, cheap) if plan.estimator == "regression" else sample_mean(changed)


def _collected(
    found: dict[str, Array], cheap: dict[str, Array], n_samples: Indices, plan: SamplingPlan
) -> MaskingEstimates:
    """Estimates of masks with as many latents each, put together."""
    m = len(n_samples)
    estimates = {name: Estimate(np.empty(m), np.empty(m), np.zeros(m, dtype=np.bool_)) for name in cheap}
    for n in np.unique(n_samples):
        rows = n_samples == n
        for name, into in estimates.items():
            one = _estimate(found[name][rows, :n], cheap[name][rows], plan) if n else sample_mean(cheap[name][rows])
            into.mean[rows], into.stderr[rows], into.helped[rows] = one.mean, one.stderr, one.helped
    exact_or_regression = np.where(estimates[AIMED_AT].helped, "regression", "exact")
    method = np.where(n_samples > 0, exact_or_regression, "screening")
    return MaskingEstimates(effect_columns(estimates), method, n_samples)
