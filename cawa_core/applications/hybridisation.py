"""Pictures between two classes: channel mixing, and the style mixing it is compared with (paper, section 5.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.base import Channels, Generator, SiteState, class_ids_of


@torch.inference_mode()
def channel_mixed(
    generator: Generator, z: Tensor, input_class: int, reference_class: int, transplants: Mapping[int, Channels]
) -> Tensor:
    """Pictures of a class with channels of another one in their place (paper, section 5.2 and Fig. 7).

    At each site of ``transplants``, the features of the given channels become those that the same latents have there as
    pictures of the reference class; from the first such site on, later sites are under the reference class. Without
    channels anywhere, and for a class with itself, the pictures are the generator's own, bit for bit.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        input_class, reference_class: what is changed, and where the channels come from.
        transplants: site => channels, by convention the reference class's most aware ones.

    Returns:
        Images ``[n, C, H, W]`` in [-1, 1].

    Raises:
        InputError: a site or channel that the generator does not have, or a generator that cannot mix classes.
    """
    for site, channels in transplants.items():
        if channels:
            generator.require_channels(site, channels)
    state = generator.run_to(0, z, class_ids_of(input_class, z))
    donor = generator.run_to(0, z, class_ids_of(reference_class, z))
    return finish_mixed(generator, z, state, donor, reference_class, transplants)


def finish_mixed(
    generator: Generator,
    z: Tensor,
    state: SiteState,
    donor: SiteState,
    reference_class: int,
    transplants: Mapping[int, Channels],
) -> Tensor:
    """The rest of :func:`channel_mixed` from two states at or before the first transplant, which stay as they are."""
    embedding = generator.class_embedding(class_ids_of(reference_class, z))
    for site in sorted(site for site, channels in transplants.items() if channels):
        state, donor = generator.advance(state, site), generator.advance(donor, site)
        features, chosen = state.features.clone(), list(transplants[site])
        features[:, chosen] = donor.features[:, chosen]
        state = generator.reconditioned(state.with_features(features), z, embedding)
    return generator.run_from(state.site, state)


@torch.inference_mode()
def style_mixed(generator: Generator, z: Tensor, input_class: int, reference_class: int, first_site: int) -> Tensor:
    """Pictures whose sites from ``first_site`` on are under another class, no features being transplanted.

    At 0, stem included, they are pictures of the reference class; past the last site, of the input class.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        input_class, reference_class: of what comes before ``first_site``, and of the rest.
        first_site: in 0..number of sites.

    Returns:
        Images ``[n, C, H, W]`` in [-1, 1].

    Raises:
        InputError: ``first_site`` out of range, or a generator that cannot mix classes.
    """
    n_sites = len(generator.sites)
    if not 0 <= first_site <= n_sites:
        raise InputError(f"first_site must be in 0..{n_sites} for {generator.name}; got {first_site}")
    if first_site in (0, n_sites):
        return generator.forward(z, class_ids_of(reference_class if first_site == 0 else input_class, z))
    state = generator.run_to(first_site - 1, z, class_ids_of(input_class, z))
    embedding = generator.class_embedding(class_ids_of(reference_class, z))
    return generator.run_from(state.site, generator.reconditioned(state, z, embedding))
