"""Seconds per unit of work of an audit, as measured on one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Measured seconds per unit of work.

    Attributes:
        image: generate one image and pass it through every network.
        mask: mask one channel group for one latent, by site.
        screened: screen all channels of all sites for one latent.
        awareness: closed form for one channel of one class.
        sampled: one sample for one channel of one class.
        classes: one class of a stage whose work goes beyond passes, by stage; a stage that is missing was not measured
            and is estimated from its passes.
    """

    image: float
    mask: tuple[float, ...]
    screened: float
    awareness: float
    sampled: float
    classes: Mapping[str, float] = dataclasses.field(default_factory=dict)
