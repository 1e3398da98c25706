"""Mixing nothing, mixing a class with itself, and mixing everything give pictures that are known."""

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.hybrids.hybridisation import channel_mixing, style_mixing
from cawa_core.interventions import run


def pictures(generator, z, class_id):
    return generator(z, torch.full((len(z),), class_id))


def channel_mixed(generator, z, input_class, reference_class, transplants):
    return run(generator, z, class_ids_of(input_class, z), channel_mixing(reference_class, transplants))


def style_mixed(generator, z, input_class, reference_class, first_site):
    return run(generator, z, class_ids_of(input_class, z), style_mixing(reference_class, first_site))


def every_channel(generator, sites):
    return {site: tuple(range(generator.sites[site].channels)) for site in sites}


@pytest.fixture
def z(generator):
    return generator.sample_latents(0, 1, range(3))


def test_an_empty_transplant_changes_no_bit(generator, z):
    plain = pictures(generator, z, 1)
    for transplants in ({}, {2: ()}, {0: (), 4: ()}):
        assert torch.equal(channel_mixed(generator, z, 1, 2, transplants), plain)


def test_a_class_with_itself_is_itself(generator, z):
    plain = pictures(generator, z, 1)
    transplants = every_channel(generator, range(len(generator.sites)))
    assert torch.equal(channel_mixed(generator, z, 1, 1, transplants), plain)
    for first_site in range(len(generator.sites) + 1):
        assert torch.equal(style_mixed(generator, z, 1, 1, first_site), plain)


def test_style_mixing_everywhere_is_the_other_class_and_nowhere_the_first(generator, z):
    assert torch.equal(style_mixed(generator, z, 1, 2, 0), pictures(generator, z, 2))
    assert torch.equal(style_mixed(generator, z, 1, 2, len(generator.sites)), pictures(generator, z, 1))


def test_all_channels_of_the_last_site_leave_only_the_skip_path_to_the_first_class(generator, z):
    """What the last site's convolution adds is the reference's; the skip path is the input's."""
    last = len(generator.sites) - 1
    mixed = channel_mixed(generator, z, 1, 2, every_channel(generator, [last]))
    first, second = (generator.run_to(last, z, torch.full((3,), class_id)) for class_id in (1, 2))
    by_hand = generator.run_from(last, first.with_features(second.features.clone()))
    torch.testing.assert_close(mixed, by_hand, rtol=0, atol=1e-6)
    assert not torch.equal(mixed, pictures(generator, z, 1))


def test_later_sites_are_under_the_reference(generator, z):
    """A transplant of one channel differs from the same change under the input class alone."""
    mixed = channel_mixed(generator, z, 1, 2, {1: (0,)})
    first, second = (generator.run_to(1, z, torch.full((3,), class_id)) for class_id in (1, 2))
    features = first.features.clone()
    features[:, 0] = second.features[:, 0]
    under_input = generator.run_from(1, first.with_features(features))
    under_reference = generator.run_from(
        1, generator.reconditioned(first.with_features(features), z, generator.class_embedding(torch.full((3,), 2)))
    )
    assert torch.equal(mixed, under_reference)
    assert not torch.allclose(mixed, under_input)


def test_sites_and_channels_that_are_not_there(tiny_generator):
    z = tiny_generator.sample_latents(0, 1, [0])
    with pytest.raises(InputError, match=r"site must be in 0\.\.5"):
        channel_mixed(tiny_generator, z, 0, 1, {6: (0,)})
    with pytest.raises(InputError, match=r"channels must be in 0\.\.11 at site 0"):
        channel_mixed(tiny_generator, z, 0, 1, {0: (12,)})
    with pytest.raises(InputError, match=r"site must be in 0\.\.5 .* got 6"):
        style_mixed(tiny_generator, z, 0, 1, 7)
