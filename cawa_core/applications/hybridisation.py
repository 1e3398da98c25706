"""Interventions for images between two classes: channel mixing, and style mixing beside it (paper, section 5.2)."""

from __future__ import annotations

from collections.abc import Mapping

from cawa_core.generators.base import Channels
from cawa_core.interventions import Change, Conditioning, Intervention, OtherClass


def channel_mixing(reference_class: int, transplants: Mapping[int, Channels]) -> list[Change]:
    """Return the interventions that put channels of another class in the place of an image's own (paper, Fig. 7).

    At each site of ``transplants``, the features of the given channels become those that the same latents have there as
    images of the reference class; from the first such site on, later sites are under the reference class. Without
    channels anywhere, and for a class with itself, images stay as they are, bit for bit.

    Args:
        reference_class: where the channels come from.
        transplants: site => channels, by convention the reference class's most aware ones.
    """
    target = OtherClass(reference_class)
    changes: list[Change] = [
        Intervention(site, channels, target) for site, channels in sorted(transplants.items()) if channels
    ]
    return [*changes, Conditioning(changes[0].site, reference_class)] if changes else []


def style_mixing(reference_class: int, first_site: int) -> list[Change]:
    """Return the intervention that puts all sites from ``first_site`` on under another class.

    At 0, stem included, images are of the reference class; past the last site, of the input class.

    Args:
        reference_class: of ``first_site`` and what follows.
        first_site: in 0..number of sites.
    """
    return [Conditioning(first_site - 1, reference_class)]
