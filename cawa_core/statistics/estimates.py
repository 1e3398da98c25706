"""Which estimator's row stands for a channel."""

from __future__ import annotations

import pandas as pd

CHANNEL = ["class_id", "site", "channel"]


def best_estimates(awareness: pd.DataFrame) -> pd.DataFrame:
    """One row a (class, site, channel) of the ``awareness`` table: the closed form where there is one, else sampled."""
    exact, sampled = (awareness[awareness.estimator == name] for name in ("closed_form", "monte_carlo"))
    if not len(exact) or not len(sampled):
        return sampled if len(sampled) else exact
    return pd.concat([exact, sampled]).drop_duplicates(CHANNEL)
