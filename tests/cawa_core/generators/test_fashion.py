import pytest
import torch

from cawa_core.generators.biggan import residual
from tests.conftest import random_fashion_generator
from tests.reference.hooked_masking import hooked_images


def inputs(generator, n=5):
    return generator.sample_latents(0, 0, range(n)), torch.arange(n) % generator.n_classes


def test_running_to_a_site_and_on_is_the_forward_pass(bundled_generator):
    z, classes = inputs(bundled_generator)
    whole = bundled_generator(z, classes)
    assert whole.shape == (5, 1, 28, 28)
    assert whole.dtype == torch.float32
    assert whole.abs().max() <= 1
    for site in bundled_generator.sites:
        state = bundled_generator.run_to(site.index, z, classes)
        assert state.features.shape == (5, site.channels, site.resolution, site.resolution)
        assert state.features.min() >= 0
        assert torch.equal(bundled_generator.run_from(site.index, state), whole)


def test_folding_changes_nothing(bundled_generator):
    """The sites' multiply-add against the network as trained: float32 rounding only."""
    z, classes = inputs(bundled_generator)
    torch.testing.assert_close(bundled_generator(z, classes), bundled_generator.network(z, classes), atol=2e-5, rtol=0)


def test_there_are_six_sites_and_none_is_inert(bundled_generator):
    assert len(bundled_generator.sites) == 6
    assert all(not site.inert_channels for site in bundled_generator.sites)
    assert [site.index for site in bundled_generator.sites] == list(range(6))


@pytest.mark.parametrize("site", range(6))
def test_the_affine_modulation_is_the_one_in_use(tiny_generator, site):
    """Gain and offset from the affine maps against two outputs of the real batch norm."""
    generator = tiny_generator
    z, classes = inputs(generator)
    embedding = generator.class_embedding(classes)
    modulation, norm = generator.modulation(site), generator.network.conditional_norms()[site]
    gain = modulation.gain.class_part(embedding) + modulation.gain.latent_part(z)
    offset = modulation.offset.class_part(embedding) + modulation.offset.latent_part(z)
    x = torch.randn(len(z), generator.sites[site].channels, 3, 3)
    expected = gain[:, :, None, None] * norm.normalise(x) + offset[:, :, None, None]
    torch.testing.assert_close(norm(x, torch.cat([z, embedding], dim=1)), expected, atol=1e-5, rtol=1e-5)


def test_inert_channels_are_found_from_the_weights():
    network = random_fashion_generator().network
    network.blocks[1].conv1.weight.data[:, 3] = 0
    generator = type(random_fashion_generator())(network, "changed")
    assert generator.sites[2].inert_channels == (3,)
    z, _ = inputs(generator)
    with torch.no_grad():
        unmasked = generator.network(z, torch.zeros(len(z), dtype=torch.int64))
    torch.testing.assert_close(hooked_images(generator, z, 0, 2, [3]), unmasked)


def test_states_only_move_forward(tiny_generator):
    state = tiny_generator.run_to(2, *inputs(tiny_generator))
    with pytest.raises(ValueError, match=r"site must be in \[2, 5\]"):
        tiny_generator.advance(state, 1)
    with pytest.raises(ValueError, match="taken at site 2, not at site 3"):
        tiny_generator.run_from(3, state)


def test_pieces_that_fit_the_cache_make_the_same_images(tiny_generator, monkeypatch):
    """Under masks of every site, one mask at a time and all in one piece."""
    masks = [(), (0,), (1,), (2, 3)]

    def everything() -> list[torch.Tensor]:
        z, classes = inputs(tiny_generator)
        states = [tiny_generator.run_to(site.index, z, classes) for site in tiny_generator.sites]
        return [tiny_generator.under_masks(state, masks)(slice(None)) for state in states]

    monkeypatch.setattr(residual, "CACHED_BYTES", 2**40)
    expected = everything()
    monkeypatch.setattr(residual, "CACHED_BYTES", 1)
    for images, same in zip(everything(), expected, strict=True):
        torch.testing.assert_close(images, same, atol=2e-6, rtol=0)


@pytest.mark.slow
def test_generated_samples_are_of_their_class(bundled_generator, bundled_evaluator):
    """The bundled model's promise: 0.90 in the mean and 0.70 in each class, by the bundled classifier."""
    accuracies = []
    for class_id in range(10):
        z = bundled_generator.sample_latents(1, class_id, range(250))
        with torch.inference_mode():
            images = bundled_generator(z, torch.full((250,), class_id))
            accuracies.append((bundled_evaluator.log_probabilities(images).argmax(dim=1) == class_id).double().mean())
    assert min(accuracies) >= 0.70
    assert sum(accuracies) / 10 >= 0.90
