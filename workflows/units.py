"""Seconds of the units of work that an audit is made of, as measured on one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Seconds, each measured on the device.

    Attributes:
        image: to generate one image and let every network look at it.
        mask: to mask one group of channels in one latent, by site.
        screened: to screen one latent, all channels of all sites.
        awareness: closed form of one channel of one class.
        sampled: one channel of one class by one sample.
        classes: one class of a stage that does more than look at images, by stage; one that is not in it was not
            measured, and is taken to be its passes.
    """

    image: float
    mask: tuple[float, ...]
    screened: float
    awareness: float
    sampled: float
    classes: Mapping[str, float] = dataclasses.field(default_factory=dict)
