"""Effects of the masks of a site, estimated with the requested precision and number of latents.

There are four estimators. ``exact`` masks every latent; ``regression`` masks a few and uses them to correct screening
of all; ``two_precisions`` masks in lower precision and corrects that on a few latents; ``screening`` masks none. With a
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
"""Function from latents and masks, by index, to log-probabilities without ``[n]`` and with each mask ``[m, n]``."""

SIGNED = ("score_change", "log_score_change")
AIMED_AT = "score_change"
"""Effect whose standard error must reach the target."""
GROWTH = 1.25
"""Ratio of latents after a round to those before it; on average, an eighth more than needed."""
PEERS_WEIGH = 16
"""Weight, in latents, of the variance pooled over masks in the decision whether a mask needs more latents."""
CORRECTION_SHARE = 0.25
"""Share of the target's variance that the correction of lower precision may contribute."""


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
    """Estimator of the effects, and number of latents for each mask of a site.

    Attributes:
        estimator: ``exact``, ``regression``, ``two_precisions`` or ``screening``.
        latents: total number of latents, and the maximum for a mask.
        exact_latents: number of latents that ``regression`` and ``two_precisions`` mask exactly; with a target, the
            number that each mask starts with.
        target_stderr: target for the standard error of the change in probability; 0 means no target: every mask gets
            the same latents.
    """

    estimator: str
    latents: int
    exact_latents: int
    target_stderr: float = 0.0

    def rounds(self) -> list[int]:
        """Return the number of latents masked after each round."""
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
        """Whether the estimates use screening."""
        return self.estimator == "regression" or (self.estimator == "two_precisions" and self.target_stderr > 0)


@dataclasses.dataclass(frozen=True)
class MaskingEstimates:
    """Effects of the masks of a site.

    Attributes:
        columns: effect columns of the ``masking`` table, ``[m]`` each.
        method: method that produced each effect: ``exact``, ``regression`` or ``screening``.
        n_samples: number of latents that each mask was applied to, ``[m]``.
    """

    columns: Columns
    method: NDArray[np.str_]
    n_samples: Indices


def estimated_effects(
    exact: Scores, screened: dict[str, Array], plan: SamplingPlan, low: Scores | None = None
) -> MaskingEstimates:
    """Estimate the effects of masks for a class and site.

    Args:
        exact: function that returns exact scores.
        screened: changes of the masks by screening, ``[m, latents]`` each, as from
            :func:`~cawa_core.masking.effects.changes`.
        plan: estimator and numbers of latents.
        low: function that returns scores in lower precision, for ``two_precisions`` only.

    Raises:
        ValueError: ``low`` is missing for ``two_precisions``, or given for another estimator.
    """
    if (plan.estimator == "two_precisions") != (low is not None):
        raise ValueError(f"low must be given for two_precisions, and only then; the plan is {plan.estimator}")
    observed = _ObservedChanges(plan, screened)
    n_samples = np.zeros(len(screened[AIMED_AT]), dtype=np.int64)
    active = np.arange(len(screened[AIMED_AT]))
    for stop in plan.rounds():
        latents = range(int(n_samples[active[0]]), stop)
        observed.add(latents, active, (low or exact)(latents, active))
        if low:
            uncorrected = active[observed.needs_correction(active)]
            if len(uncorrected):
                observed.correct(latents, uncorrected, exact(latents, uncorrected))
        n_samples[active] = stop
        if plan.target_stderr:
            active = active[observed.estimate(AIMED_AT, active, stop).stderr > plan.target_stderr]
        if not len(active):
            break
    estimates = {name: sample_mean(values) for name, values in screened.items()}
    for stop in np.unique(n_samples[n_samples > 0]):
        masks = np.flatnonzero(n_samples >= stop)  # all masks of this round, as when it was judged
        ended = n_samples[masks] == stop
        for name, combined in estimates.items():
            estimate = observed.estimate(name, masks, int(stop))
            for field in dataclasses.fields(Estimate):
                getattr(combined, field.name)[masks[ended]] = getattr(estimate, field.name)[ended]
    for name in SIGNED:  # estimated separately, but a mean absolute value is at least the absolute mean
        absolute = estimates[f"{name}_abs"].mean
        np.maximum(absolute, np.abs(estimates[name].mean), out=absolute)
    masked = "regression" if plan.uses_screening or low is not None else "exact"
    method = np.where(n_samples > 0, masked, "screening")
    return MaskingEstimates(effect_columns(estimates), method, n_samples)


class _ObservedChanges:
    """Changes under masks so far, ``[m, latents]`` per effect; NaN for latents that a mask has not been applied to.

    Args:
        plan: estimator and numbers of latents.
        screened: changes of all masks and latents by screening.
    """

    def __init__(self, plan: SamplingPlan, screened: dict[str, Array]) -> None:
        self._plan = plan
        self._screened = screened
        self._masked = {name: np.full_like(values, np.nan) for name, values in screened.items()}
        self._exact = {name: np.full_like(values, np.nan) for name, values in screened.items()}

    def add(self, latents: range, masks: Indices, scores: tuple[Array, Array]) -> None:
        """Add log-probabilities, in lower precision for ``two_precisions``."""
        _set_changes(self._masked, latents, masks, scores)

    def correct(self, latents: range, masks: Indices, scores: tuple[Array, Array]) -> None:
        """Add the exact log-probabilities that correct those in lower precision."""
        _set_changes(self._exact, latents, masks, scores)

    def needs_correction(self, masks: Indices) -> NDArray[np.bool_]:
        """Return which masks need exact latents too: all at first, then those with too uncertain a correction."""
        if np.isnan(self._exact[AIMED_AT][masks, 0]).all():
            return np.ones(len(masks), dtype=np.bool_)
        if not self._plan.target_stderr:
            return np.zeros(len(masks), dtype=np.bool_)
        stop = int(np.isfinite(self._masked[AIMED_AT][masks[0]]).sum())
        return self._correction(AIMED_AT, masks, stop).stderr ** 2 > CORRECTION_SHARE * self._plan.target_stderr**2

    def estimate(self, name: str, masks: Indices, stop: int) -> Estimate:
        """Estimate an effect of masks that have been applied to the same latents."""
        masked = self._masked[name][masks, :stop]
        cheap = self._screened[name][masks]
        estimate = regression_mean(masked, cheap) if self._plan.uses_screening else sample_mean(masked)
        if self._plan.target_stderr:
            estimate = _with_pooled_variance(estimate, stop, cheap.var(axis=1))
        if self._plan.estimator != "two_precisions":
            return estimate
        error = self._correction(name, masks, stop)
        return corrected_mean(estimate, error, masked, self._exact[name][masks, :stop], cheap)

    def _correction(self, name: str, masks: Indices, stop: int) -> Estimate:
        masked = self._masked[name][masks, :stop]
        exact = self._exact[name][masks, :stop]
        error = correction(masked, exact)
        if not self._plan.target_stderr:
            return error
        return _with_pooled_variance(error, np.isfinite(exact).sum(axis=1), masked.var(axis=1))


def _set_changes(target: dict[str, Array], latents: range, masks: Indices, scores: tuple[Array, Array]) -> None:
    cells = np.ix_(masks, np.arange(latents.start, latents.stop))
    for name, values in changes(*scores).items():
        target[name][cells] = values


def _with_pooled_variance(estimate: Estimate, n: int | Indices, spread: Array) -> Estimate:
    """Shrink each mask's variance towards an expected one, so that a lucky start does not stop it early.

    The expected variance is ``spread``, the variance of cheaper changes over more latents, scaled to the total over all
    masks. The result is never below the variance that the mask itself has shown.
    """
    variance = n * estimate.stderr**2
    expected = spread * (variance.sum() / spread.sum() if spread.any() else 0.0)
    pooled = (n * variance + PEERS_WEIGH * expected) / (n + PEERS_WEIGH)
    return dataclasses.replace(estimate, stderr=np.sqrt(np.maximum(variance, pooled) / n))


def in_given_order(parts: Sequence[tuple[Indices, MaskingEstimates]]) -> MaskingEstimates:
    """Merge the estimates of several sets of masks; each set comes with the places of its masks in the result."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    estimates = [estimates_of_part for _, estimates_of_part in parts]
    return MaskingEstimates(
        {name: np.concatenate([part.columns[name] for part in estimates])[order] for name in estimates[0].columns},
        np.concatenate([part.method for part in estimates])[order],
        np.concatenate([part.n_samples for part in estimates])[order],
    )
