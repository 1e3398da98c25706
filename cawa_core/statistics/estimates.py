"""Choice of the estimator that represents a channel."""

from __future__ import annotations

import pandas as pd

CHANNEL = ["class_id", "site", "channel"]


def best_estimates(awareness: pd.DataFrame) -> pd.DataFrame:
    """Select one row of the ``awareness`` table per class, site and channel: the closed form, or else Monte Carlo."""
    exact, sampled = (awareness[awareness.estimator == name] for name in ("closed_form", "monte_carlo"))
    if not len(exact) or not len(sampled):
        return sampled if len(sampled) else exact
    return pd.concat([exact, sampled]).drop_duplicates(CHANNEL)
