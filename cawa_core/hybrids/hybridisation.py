"""Interventions for images between two classes, by channel mixing or style mixing (paper, section 5.2)."""

from __future__ import annotations

from collections.abc import Mapping

from cawa_core.generators.base import Channels
from cawa_core.interventions import Change, Conditioning, Intervention, OtherClass


def channel_mixing(reference_class: int, transplants: Mapping[int, Channels]) -> list[Change]:
    """Return the interventions that replace channels of an image by those of another class (paper, Fig. 7).

    At each site of ``transplants``, the features of the given channels become those of the same latents under
    the reference class, and so does the conditioning of all sites after the first such site. Without any channels, or
    with the class of the images as reference, images stay bit-identical.

    Args:
        reference_class: class that the channels come from.
        transplants: site => channels, by convention the reference class's most aware ones.
    """
    target = OtherClass(reference_class)
    changes: list[Change] = [
        Intervention(site, channels, target) for site, channels in sorted(transplants.items()) if channels
    ]
    return [*changes, Conditioning(changes[0].site, reference_class)] if changes else []


def style_mixing(reference_class: int, first_site: int) -> list[Change]:
    """Return the intervention that conditions ``first_site`` and all later sites on another class.

    At 0, which includes the stem, images belong to the reference class; past the last site, to the input class.

    Args:
        reference_class: class of ``first_site`` and all later sites.
        first_site: first site under the reference class, in 0..number of sites.
    """
    return [Conditioning(first_site - 1, reference_class)]
