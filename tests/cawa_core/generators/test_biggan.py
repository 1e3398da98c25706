"""The original BigGAN against recorded outputs of the published implementation; see golden/README.md."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError
from cawa_core.generators.biggan.architecture import infer_architecture
from cawa_core.generators.biggan.checkpoint import tensor_shapes
from cawa_core.generators.biggan.generator import TrainingFlags, biggan_from_tensors, load_biggan
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore

GOLDEN = Path(__file__).parent / "golden"
FLAGS = {
    "hierarchical": TrainingFlags(),
    "plain": TrainingFlags(),
    "per_class": TrainingFlags(),
    "mybn_standing": TrainingFlags(standing_statistics=True),
    "cross_replica": TrainingFlags(cross_replica_gain="added"),
    "instance_norm": TrainingFlags(),
    "converted": TrainingFlags(),
    "deep": TrainingFlags(),
    "deep_cross_replica": TrainingFlags(batch_norm_eps=1e-4, cross_replica_gain="added"),
}
TOLERANCE = {"atol": 1e-5, "rtol": 0}
"""Activations stay below about 10, where 1e-5 is ten float32 roundings of the largest."""


def recorded(name):
    """Checkpoint and outputs of one recorded model."""
    tensors = load_file(GOLDEN / f"biggan_{name}.safetensors")
    checkpoint = {key.removeprefix("checkpoint/"): tensors.pop(key) for key in list(tensors) if "checkpoint/" in key}
    return checkpoint, tensors


def made(name, flags=None, **changes):
    """The generator of a recorded checkpoint, some tensors replaced (underscores in names stand for themselves)."""
    return biggan_from_tensors(recorded(name)[0] | changes, "digest", flags=flags or FLAGS[name])


def images_of(generator, name):
    outputs = recorded(name)[1]
    return generator(outputs["z"], outputs["class_ids"])


@pytest.mark.parametrize("name", FLAGS)
def test_every_site_and_the_image_are_the_original_s(name):
    generator, outputs = made(name), recorded(name)[1]
    recorded_sites = [site for site in generator.sites if f"sites/{site.index}" in outputs]
    assert len(recorded_sites) == sum(key.startswith("sites/") for key in outputs)
    for site in recorded_sites:
        expected = outputs[f"sites/{site.index}"]
        assert expected.shape[1:] == (site.channels, site.resolution, site.resolution)
        features = generator.run_to(site.index, outputs["z"], outputs["class_ids"]).features
        torch.testing.assert_close(features, expected, **TOLERANCE)
    torch.testing.assert_close(images_of(generator, name), outputs["images"], **TOLERANCE)


@pytest.mark.parametrize("name", [name for name in FLAGS if not name.startswith("deep")])
def test_running_to_a_site_and_on_is_the_forward_pass(name):
    generator, outputs = made(name), recorded(name)[1]
    whole = images_of(generator, name)
    assert whole.dtype == torch.float32
    assert whole.shape[1:] == (3, generator.image_size, generator.image_size)
    for site in generator.sites:
        state = generator.run_to(site.index, outputs["z"], outputs["class_ids"])
        assert torch.equal(generator.run_from(site.index, state), whole)


def naive_weight(checkpoint, layer):
    """Divided by the spectral norm, after one power iteration in float64."""
    weight, u = checkpoint[f"{layer}.weight"].double(), checkpoint.get(f"{layer}.u0")
    if u is None:
        return weight
    v = functional.normalize(u.double() @ weight)
    u = functional.normalize(v @ weight.T)
    return weight / (u @ weight @ v.T)


@pytest.mark.parametrize("name", ["hierarchical", "plain", "per_class"])
def test_the_affine_modulation_is_the_condition_s(name):
    """Condition ``[embedding, chunk]``; block b sees chunk b + 1, and none where latents are not split."""
    (checkpoint, outputs), generator = recorded(name), made(name)
    z, class_ids = outputs["z"], outputs["class_ids"]
    embedding = generator.class_embedding(class_ids)
    chunks = z.split(4, dim=1) if name == "hierarchical" else [z[:, :0]] * 9
    for site in generator.sites:
        modulation, block = generator.modulation(site.index), site.index // 2
        gain, offset = (naive_weight(checkpoint, site.name.replace("bn", "0.bn") + part) for part in (".gain", ".bias"))
        condition = torch.cat([embedding, chunks[block + 1]], dim=1).double()
        for affine, weight, constant in ((modulation.gain, gain, 1.0), (modulation.offset, offset, 0.0)):
            expected = constant + (weight[class_ids] if name == "per_class" else condition @ weight.T)
            assert affine.from_latent.shape == (site.channels, generator.z_dim)
            found = affine.class_part(embedding) + affine.latent_part(z)
            torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)


def test_each_latent_reaches_one_block():
    generator = made("hierarchical")
    for site in generator.sites:
        seen = generator.modulation(site.index).gain.from_latent.abs().sum(dim=0) > 0
        assert seen.nonzero().flatten().tolist() == list(range(4 * (site.index // 2 + 1), 4 * (site.index // 2 + 2)))


def test_the_logged_singular_value_is_not_the_one_in_use():
    """Vectors that were averaged are far from converged: the value logged beside them gives other weights."""
    checkpoint, _ = recorded("hierarchical")
    layer = "blocks.0.0.bn1.gain"
    logged = checkpoint[f"{layer}.weight"] / checkpoint[f"{layer}.sv0"]
    assert (logged - naive_weight(checkpoint, layer)).abs().max() > 1e-3


def full_size(name):
    shapes = json.loads((GOLDEN / "biggan_shapes.json").read_text())[name]
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "sites", "channels"),
    [("256px_ch96", 12, 8928), ("256px_ch64", 12, 5952), ("128px_ch96", 10, 7392), ("512px_ch96", 14, 9120)],
)
def test_full_size_architectures_are_told_from_shapes(name, sites, channels):
    tensors = full_size(name)
    architecture = infer_architecture(tensors, "file")
    assert f"{architecture.image_size}px_ch{architecture.ch}" == name
    assert architecture.n_blocks * 2 == sites
    assert sum(before + after for before, after in pairwise(architecture.widths)) == channels
    assert tensor_shapes(architecture) == {
        key: tuple(value.shape) for key, value in tensors.items() if not key.endswith(".sv0")
    }


def test_the_architecture_fits_in_a_line():
    assert infer_architecture(full_size("256px_ch96"), "file").describe() == (
        "BigGAN 256 px, ch 96, 1000 classes, z 140 in 7 chunks of 20, shared embedding 128, attention at 64 px, "
        "plain batch norm, spectral norm"
    )
    assert made("per_class").description == (
        "BigGAN 24 px, ch 2, 5 classes, z 10 at the first layer, no shared embedding, no attention, "
        "plain batch norm, spectral norm, batch norm ε 1e-05"
    )
    assert "attention at 8 and 32 px, plain batch norm, spectral norm (2 singular values)" in made("plain").description


def test_a_thousand_classes_are_those_of_imagenet():
    assert made("plain").class_names == tuple(f"class {index}" for index in range(5))
    table = torch.randn(1000, 10)
    assert made("plain", **{"shared.weight": table}).class_names[1] == "goldfish"


def test_converted_weights_bring_their_own_epsilon():
    checkpoint, outputs = recorded("converted")
    launched = images_of(made("converted", TrainingFlags(batch_norm_eps=1e-5)), "converted")
    assert (launched - outputs["images"]).abs().max() > 2e-5
    initial = {f"{name.removesuffix('.u0')}.sv0": torch.ones(1) for name in checkpoint if name.endswith(".u0")}
    saved_again = made("converted", **initial)
    assert "ε 0.0001, converted from TensorFlow Hub" in saved_again.description
    assert torch.equal(images_of(saved_again, "converted"), images_of(made("converted"), "converted"))


def test_running_averages_of_mybn_are_used_as_they_are():
    checkpoint, outputs = recorded("mybn_standing")
    statistics = {name: value / 4 for name, value in checkpoint.items() if ".stored_" in name}
    assert all(value == 4 for name, value in checkpoint.items() if name.endswith("accumulation_counter"))
    for counter, flags in ((4.0, TrainingFlags(standing_statistics=False)), (0.0, TrainingFlags())):
        counters = {name: torch.tensor([counter]) for name in checkpoint if name.endswith("accumulation_counter")}
        images = images_of(made("mybn_standing", flags, **statistics, **counters), "mybn_standing")
        torch.testing.assert_close(images, outputs["images"], **TOLERANCE)


def test_multiplied_gains_are_those_of_the_plain_batch_norm():
    checkpoint, outputs = recorded("cross_replica")
    plain = {name.replace(".bn.running_", ".stored_"): value for name, value in checkpoint.items()}
    multiplied = images_of(made("cross_replica", TrainingFlags(cross_replica_gain="multiplied")), "cross_replica")
    assert torch.equal(multiplied, biggan_from_tensors(plain, "")(outputs["z"], outputs["class_ids"]))
    assert (multiplied - outputs["images"]).abs().max() > 0.1


def test_what_the_file_does_not_tell_is_asked_for():
    with pytest.raises(
        InputError, match=r"counter' is 4, .*cawa convert FILE NEW.safetensors --statistics standing or"
    ):
        made("mybn_standing", TrainingFlags())
    with pytest.raises(InputError, match=r"cawa convert FILE NEW.safetensors --cross-replica-gain multiplied or added"):
        made("cross_replica", TrainingFlags())
    with pytest.raises(InputError, match="must be one of multiplied, added; got 'both'"):
        made("cross_replica", TrainingFlags(cross_replica_gain="both"))
    with pytest.raises(InputError, match="standing_statistics must be False or None"):
        made("plain", TrainingFlags(standing_statistics=True))


def test_flags_are_part_of_the_identity():
    assert made("plain").digest == "digest"
    digests = {made("plain", TrainingFlags(batch_norm_eps=eps)).digest for eps in (1e-4, 1e-3)}
    assert len(digests) == 2 and "digest" not in digests


@pytest.mark.parametrize(
    "name", ["linear.weight", "blocks.1.0.bn2.bias.weight", "blocks.1.1.o.u0", "output_layer.0.stored_var"]
)
def test_a_missing_tensor_is_named(name):
    checkpoint, _ = recorded("hierarchical")
    del checkpoint[name]
    with pytest.raises(InputError, match=f"file.*'{name}'.* is missing"):
        biggan_from_tensors(checkpoint, "", source="file")


@pytest.mark.parametrize("name", ["blocks.2.1.gamma", "blocks.0.0.bn1.bn.running_mean", "optimizer"])
def test_an_extra_tensor_is_named(name):
    with pytest.raises(InputError, match=f"'{name}'.* no place|'blocks.2.1.theta.weight'.* is missing"):
        made("hierarchical", **{name: torch.zeros(())})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blocks.2.0.conv1.weight", (4, 8, 5, 5)),
        ("blocks.0.0.bn1.gain.weight", (16, 7)),
        ("shared.weight", (5, 6, 1)),
        ("linear.u0", (256, 1)),
        ("linear.weight", (250, 4)),
    ],
)
def test_a_misshapen_tensor_is_named(name, shape):
    with pytest.raises(InputError, match=f"'{name}'"):
        made("hierarchical", **{name: torch.ones(shape)})


def test_other_models_are_refused():
    checkpoint, _ = recorded("plain")
    ungrouped = {name: value for name, value in checkpoint.items() if ".stored_" not in name or "output" in name}
    with pytest.raises(InputError, match="--norm_style gn or nonorm"):
        biggan_from_tensors(ungrouped, "")
    with pytest.raises(InputError, match="must be a BigGAN-deep of 32 to 256 pixels"):
        made("deep", **{"linear.weight": torch.ones(32 * 25, 11)})
    with pytest.raises(InputError, match=r"'blocks.N.0.conv1.weight'; got 0: give the G_ema or G file"):
        biggan_from_tensors({"linear.weight": torch.ones(1, 8)}, "")
    with pytest.raises(InputError, match=r"spectral norm of 'blocks.0.0.conv2.weight' must be above 0; got 0"):
        made("plain", **{"blocks.0.0.conv2.weight": torch.zeros_like(checkpoint["blocks.0.0.conv2.weight"])})


def test_a_parallel_checkpoint_is_the_same():
    checkpoint, outputs = recorded("plain")
    parallel = biggan_from_tensors({f"module.{name}": value for name, value in checkpoint.items()}, "")
    assert torch.equal(parallel(outputs["z"], outputs["class_ids"]), images_of(made("plain"), "plain"))


def test_multiplied_gains_of_a_deep_model_are_those_of_the_plain_batch_norm():
    checkpoint, outputs = recorded("deep_cross_replica")
    flags = TrainingFlags(batch_norm_eps=1e-4, cross_replica_gain="multiplied")
    plain = {name.replace(".bn.running_", ".stored_"): value for name, value in checkpoint.items()}
    expected = biggan_from_tensors(plain, "", flags=TrainingFlags(batch_norm_eps=1e-4))
    images = expected(outputs["z"], outputs["class_ids"])
    assert torch.equal(images_of(made("deep_cross_replica", flags), "deep_cross_replica"), images)
    assert (images - outputs["images"]).abs().max() > 0.1


@pytest.mark.parametrize("name", ["plain", "deep"])
def test_negative_variances_are_named(name):
    site = "blocks.0.0.bn1.stored_var"
    variance = recorded(name)[0][site].clone()
    variance[0] = -0.1
    with pytest.raises(InputError, match=rf"tensor '{site}' must be at least 0, .*got -0.1"):
        made(name, **{site: variance})


def test_wide_layers_are_not_made_for_tensors_that_are_not_there():
    """A file of 100 kB that implies convolutions of 92 TB is refused by its missing shapes."""
    narrow, wide = recorded("plain")[0], {"linear.weight": torch.zeros(1, 1).expand(16 * 400_000, 10)}
    with pytest.raises(InputError, match="must have the shape"):
        biggan_from_tensors(narrow | wide | {"output_layer.2.weight": torch.zeros(1).expand(3, 100_000, 3, 3)}, "")


@pytest.mark.parametrize(("filename", "words"), [("G_ema_best0.pth", "an average"), ("G.pth", "not named G_ema")])
def test_loading_a_file(tmp_path, filename, words):
    path = tmp_path / filename
    torch.save({name: value.half() for name, value in recorded("plain")[0].items()}, path)
    generator = load_biggan(GeneratorRequest("biggan", WeightStore({"biggan": str(path)}), truncation=0.5))
    assert generator.digest == digest_of_file(path)
    assert generator.truncation == 0.5
    assert f"{filename} is {words}" in generator.description
    assert images_of(generator, "plain").dtype == torch.float32


def test_a_file_must_be_given():
    with pytest.raises(InputError, match="weights of biggan must be given; give --weights PATH"):
        load_biggan(GeneratorRequest("biggan"))
