"""Effects of the masks of one site, as exact and on as many latents as asked for.

Four estimators: ``exact`` masks every latent; ``regression`` masks a few and corrects what screening says of all;
``two_precisions`` does so with masks of all in lower precision; ``screening`` masks none. With a target, masks get
more latents in rounds until their standard error is small enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cawa_core.masking.effects import Columns, changes, effect_columns
from cawa_core.masking.sampling import Estimate, corrected_mean, regression_mean, sample_mean

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ExactScores = Callable[[range, Indices], tuple[Array, Array]]
"""Latents and masks, both by index => log-probabilities without ``[n]`` and with each mask ``[m, n]``."""

SIGNED = ("score_change", "log_score_change")
AIMED_AT = "score_change"
"""The effect whose standard error a target is for."""
PEERS_WEIGH = 32
"""As many latents what other masks show counts for when a mask asks whether it has seen enough."""


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
        cheap: the effects of the masks by screening, or in lower precision:
            :func:`~cawa_core.masking.effects.changes` of ``[m, latents]``.
        plan: how.
    """
    m = len(cheap[AIMED_AT])
    found: dict[str, Array] = {name: np.full((m, plan.latents), np.nan) for name in cheap}
    estimates = {name: sample_mean(values) for name, values in cheap.items()}
    n_samples, active, start = np.zeros(m, dtype=np.int64), np.arange(m), 0
    rounds = plan.rounds()
    for stop in rounds:
        rows = np.ix_(active, np.arange(start, stop))
        for name, values in changes(*exact(range(start, stop), active)).items():
            found[name][rows] = values
        now = {name: _estimate(found[name][active, :stop], cheap[name][active], plan) for name in found}
        enough = (now[AIMED_AT].stderr <= plan.target_stderr) | (stop == rounds[-1])
        for name, estimate in now.items():
            for field in dataclasses.fields(Estimate):
                getattr(estimates[name], field.name)[active[enough]] = getattr(estimate, field.name)[enough]
        n_samples[active[enough]], active, start = stop, active[~enough], stop
        if not len(active):
            break
    for name in SIGNED:  # each is estimated by itself; the mean of a size is no smaller than the size of a mean
        size = estimates[f"{name}_abs"].mean
        np.maximum(size, np.abs(estimates[name].mean), out=size)
    exact_or_regression = np.where(estimates[AIMED_AT].helped, "regression", "exact")
    method = np.where(n_samples > 0, exact_or_regression, "screening")
    return MaskingEstimates(effect_columns(estimates), method, n_samples)


def in_given_order(parts: Sequence[tuple[Indices, MaskingEstimates]]) -> MaskingEstimates:
    """Estimates of several sets of masks as one; each comes with the places of its masks."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    each = [estimates for _, estimates in parts]
    return MaskingEstimates(
        {name: np.concatenate([one.columns[name] for one in each])[order] for name in each[0].columns},
        np.concatenate([one.method for one in each])[order],
        np.concatenate([one.n_samples for one in each])[order],
    )


def _estimate(changed: Array, cheap: Array, plan: SamplingPlan) -> Estimate:
    """Means of some masks by the plan's estimator, all of the same number of latents."""
    if plan.estimator == "exact":
        estimate = sample_mean(changed)
    else:
        estimate = (regression_mean if plan.estimator == "regression" else corrected_mean)(changed, cheap)
    if not plan.target_stderr:
        return estimate
    return dataclasses.replace(estimate, stderr=_wary(estimate.stderr, changed.shape[1], cheap))


def _wary(stderr: Array, n: int, cheap: Array) -> Array:
    """Standard errors of masks that stop when theirs is small, and so might by luck have seen little change.

    The variance of each is taken together with what the cheap changes of all latents let expect of it: theirs, scaled
    as in the mean over the masks. It is never below the mask's own.
    """
    seen, expected = n * stderr**2, cheap.var(axis=1)
    known = expected > 0
    scale = (seen[known] / expected[known]).mean() if known.any() else 0.0
    pooled = (n * seen + PEERS_WEIGH * scale * expected) / (n + PEERS_WEIGH)
    wary: Array = np.sqrt(np.maximum(seen, pooled) / n)
    return wary
