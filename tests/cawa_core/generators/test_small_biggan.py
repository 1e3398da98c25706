"""The network of ``scenes-biggan`` before training: its sites, their shapes, and what each site is told."""

import pytest
import torch

from cawa_core.generators.small_biggan.generator import SCENES_ARCHITECTURE, ScenesBigGAN
from cawa_core.generators.small_biggan.network import Architecture, SmallBigGANNetwork
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES


@pytest.fixture(scope="module")
def generator() -> ScenesBigGAN:
    torch.manual_seed(0)
    return ScenesBigGAN(SmallBigGANNetwork(SCENES_ARCHITECTURE), digest="random")


def test_there_are_eight_sites_from_4_to_32_pixels(generator):
    assert [site.resolution for site in generator.sites] == [4, 8, 8, 16, 16, 32, 32, 32]
    assert [site.channels for site in generator.sites] == [128, 128, 128, 96, 96, 64, 64, 48]
    assert (generator.image_size, generator.image_channels) == (32, 3)
    assert generator.classes.names == CLASS_NAMES
    size = sum(tensor.numel() * tensor.element_size() for tensor in generator.network.state_dict().values())
    assert size < 6e6


def test_running_from_any_site_is_the_forward_pass(generator):
    z, classes = generator.sample_latents(0, 0, range(2)), torch.tensor([3, 29])
    with torch.inference_mode():
        whole = generator(z, classes)
        assert whole.shape == (2, 3, 32, 32)
        torch.testing.assert_close(whole, generator.network(z, classes), atol=2e-5, rtol=0)
        for site in generator.sites:
            state = generator.run_to(site.index, z, classes)
            assert state.features.shape == (2, site.channels, site.resolution, site.resolution)
            assert torch.equal(generator.run_from(site.index, state), whole)


def test_every_site_sees_the_whole_latent_and_the_class(generator):
    for site in generator.sites:
        gain = generator.modulation(site.index).gain
        assert gain.from_latent.shape == (site.channels, 64)
        assert gain.from_class.shape == (site.channels, 64)
        assert (gain.from_latent != 0).all()


def test_the_defaults_are_those_of_the_bundled_garments():
    assert Architecture().image_size == 28
    assert SmallBigGANNetwork().to_image.out_channels == 1
