"""Effects of the masks of one site, as exact and on as many latents as asked for.

Four estimators: ``exact`` masks every latent; ``regression`` masks a few and corrects what screening says of all;
``two_precisions`` masks in lower precision and corrects that on a few latents; ``screening`` masks none. With a
target, masks get more latents in rounds until their standard error is small enough.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.masking.effects import Columns, changes, effect_columns
from cawa_core.masking.sampling import Estimate, corrected_mean, correction, regression_mean, sample_mean

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

Scores = Callable[[range, Indices], tuple[Array, Array]]
"""Latents and masks, both by index => log-probabilities without ``[n]`` and with each mask ``[m, n]``."""

SIGNED = ("score_change", "log_score_change")
AIMED_AT = "score_change"
"""The effect whose standard error a target is for."""
GROWTH = 1.25
"""Latents after a round over those before it: an eighth too many in the mean."""
PEERS_WEIGH = 16
"""As many latents what other masks show counts for when a mask asks whether it has seen enough."""
CORRECTION_SHARE = 0.25
"""Part of a target's variance that the correction of lower precision may leave."""


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
    """How many latents each mask of a site gets.

    Attributes:
        estimator: ``exact``, ``regression``, ``two_precisions`` or ``screening``.
        latents: all of them: no mask ever gets more.
        exact_latents: how many ``regression`` and ``two_precisions`` mask exactly, and how many a mask begins with
            where there is a target.
        target_stderr: of the change of the probability; 0: none, every mask gets the same latents.
    """

    estimator: str
    latents: int
    exact_latents: int
    target_stderr: float = 0.0

    def rounds(self) -> list[int]:
        """Latents masked after each round."""
        if self.estimator == "screening":
            return []
        rounds = [min(self.exact_latents, self.latents)]
        if self.target_stderr:
            while rounds[-1] < self.latents:
                rounds.append(min(math.ceil(rounds[-1] * GROWTH), self.latents))
        elif self.estimator == "exact":
            return [self.latents]
        elif self.estimator == "two_precisions" and rounds[-1] < self.latents:
            rounds.append(self.latents)
        return rounds

    @property
    def uses_screening(self) -> bool:
        """Whether what screening says enters."""
        return self.estimator == "regression" or (self.estimator == "two_precisions" and self.target_stderr > 0)


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


def estimated_effects(
    exact: Scores, screened: dict[str, Array], plan: SamplingPlan, low: Scores | None = None
) -> MaskingEstimates:
    """Estimate the effects of some masks of one class and site.

    Args:
        exact: masks.
        screened: the effects of the masks by screening: :func:`~cawa_core.masking.effects.changes` of
            ``[m, latents]``.
        plan: how.
        low: masks in lower precision; for ``two_precisions``.
    """
    if (plan.estimator == "two_precisions") != (low is not None):
        raise ValueError(f"low must be given for two_precisions and for it alone; the plan is {plan.estimator}")
    seen = _Seen(plan, screened)
    n_samples, active = np.zeros(len(screened[AIMED_AT]), dtype=np.int64), np.arange(len(screened[AIMED_AT]))
    for stop in plan.rounds():
        latents = range(int(n_samples[active[0]]), stop)
        seen.add(latents, active, (low or exact)(latents, active))
        if low:
            unsure = active[seen.correction_unsure(active)]
            if len(unsure):
                seen.correct(latents, unsure, exact(latents, unsure))
        n_samples[active] = stop
        if plan.target_stderr:
            active = active[seen.estimate(AIMED_AT, active, stop).stderr > plan.target_stderr]
        if not len(active):
            break
    estimates = {name: sample_mean(values) for name, values in screened.items()}
    for stop in np.unique(n_samples[n_samples > 0]):
        masks = np.flatnonzero(n_samples >= stop)  # all that took part in this round, as when it was judged
        ended = n_samples[masks] == stop
        for name, into in estimates.items():
            estimate = seen.estimate(name, masks, int(stop))
            for field in dataclasses.fields(Estimate):
                getattr(into, field.name)[masks[ended]] = getattr(estimate, field.name)[ended]
    for name in SIGNED:  # each is estimated by itself; the mean of a size is no smaller than the size of a mean
        size = estimates[f"{name}_abs"].mean
        np.maximum(size, np.abs(estimates[name].mean), out=size)
    masked = "regression" if plan.uses_screening or low is not None else "exact"
    method = np.where(n_samples > 0, masked, "screening")
    return MaskingEstimates(effect_columns(estimates), method, n_samples)


class _Seen:
    """What masks have shown so far: ``[m, latents]`` an effect, NaN where nothing yet.

    Args:
        plan: how to make estimates of it.
        screened: the same by screening, known everywhere.
    """

    def __init__(self, plan: SamplingPlan, screened: dict[str, Array]) -> None:
        self._plan, self._screened = plan, screened
        self._masked = {name: np.full_like(values, np.nan) for name, values in screened.items()}
        self._exact = {name: np.full_like(values, np.nan) for name, values in screened.items()}

    def add(self, latents: range, masks: Indices, scores: tuple[Array, Array]) -> None:
        """Take in log-probabilities."""
        _enter(self._masked, latents, masks, scores)

    def correct(self, latents: range, masks: Indices, scores: tuple[Array, Array]) -> None:
        """Take in what is right where ``add`` was given lower precision."""
        _enter(self._exact, latents, masks, scores)

    def correction_unsure(self, masks: Indices) -> NDArray[np.bool_]:
        """Whether to mask exactly, too: at first, and where what that showed leaves too much of the target open."""
        if np.isnan(self._exact[AIMED_AT][masks, 0]).all():
            return np.ones(len(masks), dtype=np.bool_)
        if not self._plan.target_stderr:
            return np.zeros(len(masks), dtype=np.bool_)
        stop = int(np.isfinite(self._masked[AIMED_AT][masks[0]]).sum())
        return self._correction(AIMED_AT, masks, stop).stderr ** 2 > CORRECTION_SHARE * self._plan.target_stderr**2

    def estimate(self, name: str, masks: Indices, stop: int) -> Estimate:
        """Means of one effect of some masks that have seen the same latents."""
        masked, cheap = self._masked[name][masks, :stop], self._screened[name][masks]
        estimate = regression_mean(masked, cheap) if self._plan.uses_screening else sample_mean(masked)
        if self._plan.target_stderr:
            estimate = _wary(estimate, stop, cheap.var(axis=1))
        if self._plan.estimator != "two_precisions":
            return estimate
        wrong = self._correction(name, masks, stop)
        return corrected_mean(estimate, wrong, masked, self._exact[name][masks, :stop], cheap)

    def _correction(self, name: str, masks: Indices, stop: int) -> Estimate:
        masked, exact = self._masked[name][masks, :stop], self._exact[name][masks, :stop]
        wrong = correction(masked, exact)
        if not self._plan.target_stderr:
            return wrong
        return _wary(wrong, np.isfinite(exact).sum(axis=1), masked.var(axis=1))


def _enter(into: dict[str, Array], latents: range, masks: Indices, scores: tuple[Array, Array]) -> None:
    place = np.ix_(masks, np.arange(latents.start, latents.stop))
    for name, values in changes(*scores).items():
        into[name][place] = values


def _wary(estimate: Estimate, n: int | Indices, spread: Array) -> Estimate:
    """Standard errors of masks that stop when theirs is small, and so might by luck have seen little change.

    The variance of each is taken together with what a cheaper sight of many latents lets expect of it: the variance
    ``spread`` of that, scaled as over all masks together. It is never below the mask's own.
    """
    seen = n * estimate.stderr**2
    expected = spread * (seen.sum() / spread.sum() if spread.any() else 0.0)
    pooled = (n * seen + PEERS_WEIGH * expected) / (n + PEERS_WEIGH)
    return dataclasses.replace(estimate, stderr=np.sqrt(np.maximum(seen, pooled) / n))


def in_given_order(parts: Sequence[tuple[Indices, MaskingEstimates]]) -> MaskingEstimates:
    """Estimates of several sets of masks as one; each comes with the places of its masks."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    each = [estimates for _, estimates in parts]
    return MaskingEstimates(
        {name: np.concatenate([one.columns[name] for one in each])[order] for name in each[0].columns},
        np.concatenate([one.method for one in each])[order],
        np.concatenate([one.n_samples for one in each])[order],
    )
