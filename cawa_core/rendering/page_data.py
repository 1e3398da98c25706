"""Data for the scripts of a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup


def embedded(data: Mapping[str, Any]) -> Markup:
    """Encode as JSON without the characters that could end the ``script`` element around it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))
