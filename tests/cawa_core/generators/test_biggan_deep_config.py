"""``config.json`` of a BigGAN-deep: every bad value is one line with its key, what is allowed, and what came."""

import json

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.generators import GENERATORS
from cawa_core.generators.biggan.deep_config import read_config
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore
from tests.biggan_deep_models import LAYERS, save_folder, tiny_network


def written(path, **changes):
    """A ``config.json`` with some values changed."""
    file = path / "config.json"
    file.write_text(json.dumps(tiny_network().config.to_dict() | changes))
    return file


def test_a_good_file_is_read_as_it_is(tmp_path):
    assert read_config(written(tmp_path)).to_dict() == json.loads(tiny_network().config.to_json_string()) | {
        "layers": [tuple(layer) for layer in LAYERS[128]]
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("z_dim", -1, "z_dim must be a whole number from 1 to 4096; got -1"),
        ("z_dim", "12", 'z_dim must be a whole number from 1 to 4096; got "12"'),
        ("z_dim", True, "z_dim must be a whole number from 1 to 4096; got true"),
        ("class_embed_dim", None, "class_embed_dim must be a whole number from 1 to 4096; got null"),
        ("channel_width", 1e9, "channel_width must be a whole number from 4 to 4096; got 1000000000.0"),
        ("channel_width", -8, "channel_width must be a whole number from 4 to 4096; got -8"),
        ("channel_width", 8.5, "channel_width must be a whole number from 4 to 4096; got 8.5"),
        ("eps", "x", 'eps must be a number above 0 and at most 0.1; got "x"'),
        ("eps", float("nan"), "eps must be a number above 0 and at most 0.1; got NaN"),
        ("eps", float("inf"), "eps must be a number above 0 and at most 0.1; got Infinity"),
        ("eps", -1, "eps must be a number above 0 and at most 0.1; got -1"),
        ("layers", 5, r"layers must be a list of \[upsamples \(true or false\), .*; got 5"),
        ("layers", [["a", "b"]], r'layers must be a list of .*; got \[\["a", "b"\]\]'),
        ("layers", [], r"layers must be a list of .*; got \[\]"),
        ("layers", [[True, 16, 1]], "layers must be from width 16 to 1, each"),
        ("layers", [[False, 16, 16]] * 99, "layers must be from width 16 to 1, each .*…"),
        ("n_stats", 1, "n_stats must be a whole number from 2 to 10001; got 1"),
        ("n_stats", 10**12, "n_stats must be a whole number from 2 to 10001; got 1000000000000"),
        ("num_classes", 0, "num_classes must be a whole number from 1 to 1000000; got 0"),
        ("output_dim", 256, "output_dim must be 128, the side after the layers that upsample; got 256"),
        ("output_dim", [128], r"output_dim must be a side in pixels, 4 to 4096; got \[128\]"),
        ("attention_layer_position", 10, "attention_layer_position must be below 10, the number of layers; got 10"),
        ("attention_layer_position", -2, "attention_layer_position must be the number of the layer behind .*; got -2"),
    ],
)
def test_a_bad_value_is_named(tmp_path, key, value, message):
    with pytest.raises(InputError, match=rf"^weights: .*config.json: {message}") as caught:
        read_config(written(tmp_path, **{key: value}))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert "fetched again" not in str(caught.value)


def test_text_that_is_not_unicode_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config.json holds text that is not Unicode; copy it again"):
        read_config(written(tmp_path, eps="\ud800"))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[" * 100_000, b"7"])
def test_what_is_not_json_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"is not JSON: .*copy it again|must hold the keys"):
        read_config(tmp_path / "config.json")


def test_a_fetched_file_can_be_fetched_again(tmp_path):
    file = written(tmp_path, z_dim=0)
    (tmp_path / "SHA256.json").write_text(json.dumps({"config.json": "0" * 64}))
    with pytest.raises(InputError, match="remove it to have it fetched again"):
        read_config(file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "gen_z.weight_orig",
            torch.ones(3, 3),
            r"'generator.gen_z.weight' must have the shape \[2048, 24\], got \[3, 3\]",
        ),
        ("gen_z.weight_u", torch.ones(3), r"generator.gen_z.weight_u must be numbers of the shape \[2048\].* \[3\]"),
        ("gen_z.weight_u", torch.zeros(2048), "spectral norm of generator.gen_z.weight_orig must be finite and not 0"),
        ("bn.running_vars", -torch.ones(51, 8), "'generator.bn.running_vars' must be at least 0"),
    ],
)
def test_tensors_that_do_not_go_with_the_configuration_are_named(tmp_path, name, value, message):
    folder = save_folder(tiny_network(), tmp_path)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(tensors | {f"generator.{name}": value}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=message):
        request = GeneratorRequest("biggan-deep-128", WeightStore({"biggan-deep-128": str(folder)}))
        GENERATORS.make("biggan-deep-128", request)
