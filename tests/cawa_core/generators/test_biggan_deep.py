import copy
import json

import pytest
import torch
from pytorch_pretrained_biggan.model import BigGANBatchNorm
from torch import nn

from cawa_core.errors import InputError
from cawa_core.generators import GENERATORS
from cawa_core.generators.biggan.deep import BigGANDeep, effective_tensors, remove_spectral_norms, statistics_at
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore
from tests.biggan_deep_models import random_network, save_folder, tiny_network

CLASSES = torch.tensor([207, 817])


def load(folder, name="biggan-deep-128", **options) -> BigGANDeep:
    return GENERATORS.make(name, GeneratorRequest(name, WeightStore({name: str(folder)}, offline=True), **options))


def wrapped(network, **options) -> BigGANDeep:
    network = copy.deepcopy(network)
    remove_spectral_norms(network)
    return BigGANDeep(network, "biggan-deep-128", "random", GeneratorRequest("biggan-deep-128", **options))


def package_images(network, z, classes, truncation):
    with torch.inference_mode():
        return network(z, nn.functional.one_hot(classes, 1000).float(), truncation)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return save_folder(tiny_network(), tmp_path_factory.mktemp("weights") / "deep")


@pytest.fixture(scope="module")
def tiny(tiny_folder) -> BigGANDeep:
    return load(tiny_folder)


@torch.inference_mode()
def test_images_and_sites_are_those_of_the_package(tiny):
    z = tiny.sample_latents(0, 0, range(2))
    images = tiny(z, CLASSES)
    assert images.shape == (2, 3, 128, 128)
    assert images.std() > 0.05
    torch.testing.assert_close(images, package_images(tiny_network(), z, CLASSES, 1.0), atol=1e-5, rtol=0)
    assert len(tiny.sites) == 40
    for site in tiny.sites:
        state = tiny.run_to(site.index, z, CLASSES)
        assert state.features.shape == (2, site.channels, site.resolution, site.resolution)
        assert torch.equal(tiny.run_from(site.index, state), images)


@pytest.mark.parametrize("truncation", [0.41, 0.14, 0.28, 0.02, 0.5, 1.0])
def test_the_packages_statistics_by_name(tiny_folder, truncation):
    generator = load(tiny_folder, truncation=truncation, truncation_statistics="package")
    z = generator.sample_latents(0, 0, range(2))
    with torch.inference_mode():
        images = generator(z, CLASSES)
    torch.testing.assert_close(images, package_images(tiny_network(), z, CLASSES, truncation), atol=1e-5, rtol=0)


def test_statistics_are_interpolated_and_recorded_ones_are_taken_as_they_are():
    table = torch.arange(51.0)[:, None] * torch.tensor([1.0, -2.0])  # linear: interpolation must give t / 0.02
    for truncation in (0.41, 0.0301, 0.999, 0.02, 1.0):
        expected = torch.tensor([1.0, -2.0]) * truncation / 0.02
        torch.testing.assert_close(statistics_at(table, truncation), expected, atol=1e-4, rtol=1e-5)
    for step in range(1, 51):
        assert torch.equal(statistics_at(table, step * 0.02), table[step])
    assert not torch.equal(statistics_at(table, 0.14, "package"), table[7])  # one step off, by rounding
    torch.testing.assert_close(statistics_at(table, 0.415, "package")[0], torch.tensor(20.25))  # not 20.75
    with pytest.raises(InputError, match=r"truncation must be in \(0, 1\]; got 1.5"):
        statistics_at(table, 1.5)


@torch.inference_mode()
def test_the_affine_modulation_is_the_one_in_use(tiny):
    z, embedding = torch.randn(3, tiny.z_dim), tiny.class_embedding(torch.tensor([1, 2, 3]))
    norms = [layer for layer in tiny.network.modules() if isinstance(layer, BigGANBatchNorm) and layer.conditional]
    for site, norm in zip(tiny.sites, norms, strict=True):
        modulation = tiny.modulation(site.index)
        gain = modulation.gain.class_part(embedding) + modulation.gain.latent_part(z)
        offset = modulation.offset.class_part(embedding) + modulation.offset.latent_part(z)
        x = torch.randn(3, site.channels, 2, 2)
        normalised = (x - norm.running_means[50].view(-1, 1, 1)) / (
            norm.running_vars[50].view(-1, 1, 1) + norm.eps
        ).sqrt()
        expected = gain[:, :, None, None] * normalised + offset[:, :, None, None]
        torch.testing.assert_close(norm(x, 1.0, torch.cat([z, embedding], 1)), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_inert_channels_are_those_that_change_no_image():
    network = copy.deepcopy(tiny_network())
    remove_spectral_norms(network)
    layers = network.generator.layers
    layers[0].conv_1.weight[:, 1] = 0  # its reader is cut
    layers[10].conv_2.weight[3] = 0  # reads for a channel ...
    layers[10].conv_3.weight[:, 3] = 0  # ... that is cut itself
    network.generator.conv_to_rgb.weight[:3, 5] = 0  # last features: one main-path row and one skip row are cut
    generator = BigGANDeep(network, "deep", "changed", GeneratorRequest("deep"))
    inert = {site.index: site.inert_channels for site in generator.sites if site.inert_channels}
    assert inert == {1: (1,), 39: (3,)}
    z = generator.sample_latents(0, 0, range(2))
    images = generator(z, CLASSES)
    for site in (1, 39):
        state = generator.run_to(site, z, CLASSES)
        for channel in range(state.features.shape[1]):
            features = state.features.clone()
            features[:, channel] += 10
            same = torch.equal(generator.run_from(site, state.with_features(features)), images)
            assert same == (channel in inert[site])


@torch.inference_mode()
def test_attention_carries_channels_to_others(tiny):
    """A channel that only the attention maps read still reaches the image; without attention it does not."""
    for gamma in (0.7, 0.0):
        network = copy.deepcopy(tiny_network())
        remove_spectral_norms(network)
        layers = network.generator.layers
        layers[8].gamma.fill_(gamma)  # 16 channels; block 9 keeps them, block 10 drops the upper half of its skip path
        layers[9].conv_0.weight[:, 12] = 0
        layers[10].conv_0.weight[:, 12] = 0
        layers[7].conv_3.weight[:, 2] = 0
        layers[7].conv_3.weight[12, 2] = 1  # a channel of block 7's last site that feeds channel 12 alone
        generator = BigGANDeep(network, "deep", "changed", GeneratorRequest("deep"))
        found = {site.name: site.inert_channels for site in generator.sites if site.inert_channels}
        assert found.get("generator.layers.7.bn_3", ()) == ((2,) if gamma == 0 else ())


@torch.inference_mode()
def test_checkpoints_with_plain_weights_or_without_v_are_the_same_model(tiny, tmp_path):
    folder = save_folder(tiny_network(), tmp_path / "old")
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    z = tiny.sample_latents(0, 0, range(1))
    plain = effective_tensors(tensors, folder)
    in_use = {name: tensor for name, tensor in plain.items() if f"{name}_orig" in tensors}
    without_v = {name: tensor for name, tensor in tensors.items() if not name.endswith("weight_v")}
    for changed in (plain, {**without_v, **in_use}):
        torch.save(changed, folder / "pytorch_model.bin")
        assert torch.equal(load(folder)(z, CLASSES[:1]), tiny(z, CLASSES[:1]))
    torch.save(without_v, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"must hold generator.gen_z.weight_v beside"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("generator.layers.3.conv_1.bias"), "generator.layers.3.conv_1.bias"),
        (lambda t: t.pop("generator.gen_z.weight_u"), "generator.gen_z.weight_u"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra"),
        (lambda t: t.update({"generator.bn.bias": torch.zeros(3)}), "generator.bn.bias"),
        (lambda t: t["generator.bn.bias"].fill_(float("nan")), "generator.bn.bias"),
    ],
)
def test_foreign_tensors_are_refused_by_name(tmp_path, change, message):
    folder = save_folder(tiny_network(), tmp_path)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    change(tensors)
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=message):
        load(folder)


def test_a_configuration_of_another_model_is_refused(tmp_path):
    folder = save_folder(tiny_network(), tmp_path)
    with pytest.raises(InputError, match=r"must be for 256 pixels; .* says 128, use --generator biggan-deep-128"):
        load(folder, "biggan-deep-256")
    config = json.loads((folder / "config.json").read_text())
    for content in ("{", "[]", json.dumps(config | {"colour": "red"}), json.dumps({"output_dim": 128})):
        (folder / "config.json").write_text(content)
        with pytest.raises(InputError, match=r"config\.json (is not JSON|must hold the keys)"):
            load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"lacks config\.json"):
        load(folder)


def test_truncated_latents_are_smaller_and_keep_their_seeds(tiny_folder):
    plain, cut = load(tiny_folder), load(tiny_folder, truncation=0.5)
    z, short = (generator.sample_latents(3, 7, range(2000)) for generator in (plain, cut))
    assert short.abs().max() <= 1.0
    assert torch.equal(short.sign(), z.sign())
    assert short.std().item() == pytest.approx(cut.latent_deviation, rel=0.02)
    assert (plain.latent_deviation, plain.truncation) == (1.0, 1.0)
    assert cut.latent_deviation == pytest.approx(0.5 * 0.8796, rel=1e-3)  # scipy.stats.truncnorm(-2, 2).std()


@pytest.mark.slow
@torch.inference_mode()
def test_full_size_at_128_pixels(tmp_path):
    network = random_network()
    folder = save_folder(network, tmp_path)
    for truncation, method in ((1.0, "interpolated"), (0.41, "package")):
        generator = load(folder, truncation=truncation, truncation_statistics=method)
        z = generator.sample_latents(0, 0, range(2))
        images = generator(z, CLASSES)
        torch.testing.assert_close(images, package_images(network, z, CLASSES, truncation), atol=1e-5, rtol=0)
    assert sum(site.channels for site in generator.sites) == 20_608
    for site in range(40):
        assert torch.equal(generator.run_from(site, generator.run_to(site, z, CLASSES)), images)


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize(("side", "n_sites", "channels"), [(256, 48, 24_192), (512, 56, 24_640)])
def test_full_size_at_higher_resolutions(side, n_sites, channels):
    network = random_network(side)
    z = torch.randn(1, 128)
    expected = package_images(network, z, CLASSES[:1], 1.0)
    remove_spectral_norms(network)
    generator = BigGANDeep(network, f"biggan-deep-{side}", "random", GeneratorRequest(f"biggan-deep-{side}"))
    assert len(generator.sites) == n_sites
    assert sum(site.channels for site in generator.sites) == channels
    assert generator.sites[-1].resolution == side
    images = generator(z, CLASSES[:1])
    assert images.shape == (1, 3, side, side)
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
