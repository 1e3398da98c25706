"""Inert channels of the original BigGAN, against what changing each channel does to the image."""

import pytest
import torch

from tests.cawa_core.generators.test_biggan import made, recorded


def channels_without_effect(generator, outputs):
    """Per site, the channels whose features can be raised without any change of the images."""
    z, class_ids = outputs["z"], outputs["class_ids"]
    images, found = generator(z, class_ids), []
    for site in generator.sites:
        state = generator.run_to(site.index, z, class_ids)
        same = []
        for channel in range(site.channels):
            features = state.features.clone()
            features[:, channel] += 3
            if torch.equal(generator.run_from(site.index, state.with_features(features)), images):
                same.append(channel)
        found.append(tuple(same))
    return found


def inert(generator):
    return [site.inert_channels for site in generator.sites]


def test_none_is_inert_in_a_dense_model():
    assert not any(inert(made("hierarchical")))


def test_channels_of_the_walk_back_from_the_image():
    """Cut: channel 1 before the image; what feeds channel 1 alone; a column of a first convolution."""
    checkpoint, outputs = recorded("plain")
    checkpoint["output_layer.0.gain"][1] = 0
    checkpoint["blocks.2.1.gamma"].zero_()
    checkpoint["blocks.2.0.conv2.weight"][[0, *range(2, 8)], 5] = 0
    checkpoint["blocks.2.0.conv1.weight"][[*range(5), 6, 7], 2] = 0
    checkpoint["blocks.0.0.conv1.weight"][:, 3] = 0
    generator = made("plain", **checkpoint)
    assert inert(generator) == [(3,), (), (), (), (2,), (5,)]
    assert channels_without_effect(generator, outputs) == inert(generator)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ([], ()),
        (["gamma"], (6,)),
        (["o.weight"], (6,)),
        (["g.weight"], (6,)),
        (["input of g"], ()),
        (["theta.weight", "phi.weight"], ()),
        (["input of g", "theta.weight"], (6,)),
        (["input of g", "phi.weight"], (6,)),
    ],
)
def test_attention_passes_channels_on(cut, expected):
    """Channel 0 of a block is taken up by its attention alone; hidden channel 6 feeds channel 0 alone."""
    checkpoint, outputs = recorded("instance_norm")
    for layer in ("conv1", "conv_sc"):
        checkpoint[f"blocks.2.0.{layer}.weight"][:, 0] = 0
    checkpoint["blocks.1.0.conv2.weight"][1:, 6] = 0
    for name in cut:
        whole = checkpoint[f"blocks.1.1.{name.replace('input of g', 'g.weight')}"]
        (whole[:, 0] if name == "input of g" else whole).zero_()
    generator = made("instance_norm", **checkpoint)
    assert generator.sites[3].inert_channels == expected
    assert channels_without_effect(generator, outputs) == inert(generator)
