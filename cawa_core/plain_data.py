"""Data that JSON can hold."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(value: Any) -> Any:  # noqa: ANN401
    """Python's numbers for NumPy's, and null for what is not finite: JSON has neither."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
