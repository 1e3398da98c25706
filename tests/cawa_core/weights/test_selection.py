"""Which weights of a training loop's checkpoint are taken, and what wrappers add to their names."""

import argparse
import collections
import datetime
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cawa_core.errors import InputError
from cawa_core.weights import load_tensors, read_checkpoint, without_prefix

OWN, OTHER = {"weight": torch.ones(2)}, {"weight": torch.zeros(2)}


def saved(path: Path, content: object, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"G": OTHER, "G_ema": OWN}, "G_ema"),
        ({"G": OTHER, "G_ema": OWN, "D": OTHER, "optimizer": {"state": OTHER}}, "G_ema"),
        ({"state_dict": OTHER, "state_dict_ema": OWN, "epoch": 3}, "state_dict_ema"),
        ({"G": OWN, "D": OTHER, "D_ema": OTHER}, "G"),
        ({"state_dict": {"ema": OWN, "net": OTHER}}, "state_dict.ema"),
        ({"my_network": OWN, "steps": 7}, "my_network"),
        ({"state_dict": OWN, "best_loss": torch.zeros(())}, "state_dict"),
        (OWN, ""),
    ],
)
def test_the_average_is_taken_or_the_only_weights(tmp_path, content, key):
    checkpoint = read_checkpoint(saved(tmp_path / "training.pth", content))
    assert checkpoint.key == key
    assert torch.equal(checkpoint.tensors["weight"], OWN["weight"])


def test_the_choice_is_described_and_is_part_of_the_identity(tmp_path):
    path = saved(tmp_path / "training.pth", {"G": OTHER, "G_ema": OWN})
    average, last = read_checkpoint(path), read_checkpoint(path, "G")
    assert torch.equal(last.tensors["weight"], OTHER["weight"])
    assert average.describe_key(path) == "weights G_ema of training.pth"
    assert average.identity(path) != last.identity(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a; rm -rf ~": OWN, "b": OTHER}, r"--key 'a; rm -rf ~'"),
        ({f"{'x' * 500}{n}": OWN for n in range(9)}, r"several, under '(x+…, '){4}x+… and 4 more: .{,300}$"),
        ({"x" * 500: torch.ones(1)}, r"names of tensors must have at most 300 letters; got 'x+…$"),
        ({"a": OWN, "b": OTHER}, r"several, under 'a', 'b': .*cawa convert .* training-weights.safetensors --key a"),
        ({"ema": OWN, "G_ema": OTHER}, "several, under 'ema', 'G_ema'"),
        ({"rest": OWN, "best": torch.zeros(())}, "several, under 'rest'"),
        ({"a": {"b": {"c": {"d": OWN}}}}, "'a' is a dict"),
        (OWN | {"args": argparse.Namespace()}, "'args' is a argparse.Namespace"),
    ],
)
def test_a_choice_that_is_not_clear_is_left_to_the_user(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load_tensors(saved(tmp_path / "training.pth", content))


def test_a_key_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match="none under 'H', but under 'G'"):
        read_checkpoint(saved(tmp_path / "training.pth", {"G": OWN}), "H")


def test_maps_that_contain_themselves_end(tmp_path):
    content: dict[str, object] = {"weight": torch.ones(1)}
    content["G"] = content
    with pytest.raises(InputError, match="more than 3 levels down"):
        load_tensors(saved(tmp_path / "training.pth", content))


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_loops_save_beside_the_weights_is_passed_over(tmp_path, legacy):
    content = {
        "state_dict": OWN,
        "args": argparse.Namespace(lr=1e-4, path=Path("here")),
        "best": np.float64(3.5),
        "history": np.arange(3),
        "when": datetime.datetime(2020, 1, 1),
        "counts": collections.defaultdict(int, a=1),
        "names": {"a", "b"},
        "shape": torch.Size([1]),
    }
    assert torch.equal(load_tensors(saved(tmp_path / "training.pth", content, legacy=legacy))["weight"], OWN["weight"])


class Config:
    """A class of the user's own."""


def test_the_command_for_files_with_code_gives_the_weights(tmp_path):
    path = saved(tmp_path / "training.pth", {"G": OTHER, "G_ema": OWN, "config": Config()})
    with pytest.raises(InputError, match=r"test_selection\.Config") as caught:
        load_tensors(path)
    _, option, code = shlex.split(str(caught.value).split("its weights alone: ")[1])
    assert option == "-c"
    exec(code, {})
    assert torch.equal(load_tensors(tmp_path / "training-weights.pth")["weight"], OWN["weight"])


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "generator.", "module._orig_mod.", "generator.module.", ""]
)
def test_prefixes_of_wrappers_are_removed(prefix):
    names = {f"{prefix}{name}": torch.zeros(1) for name in ("linear.weight", "blocks.0.weight")}
    assert without_prefix(names, ["linear.weight"]).keys() == {"linear.weight", "blocks.0.weight"}


def test_a_discriminator_beside_the_generator_is_left_out():
    names = {name: torch.zeros(1) for name in ("generator.linear.weight", "discriminator.linear.weight")}
    assert without_prefix(names, ["linear.weight"]).keys() == {"linear.weight"}


def test_names_that_are_as_expected_stay():
    names = {name: torch.zeros(1) for name in ("generator.gen_z.bias", "generator.bn.bias")}
    assert without_prefix(names, ["generator.gen_z.bias"]).keys() == names.keys()
    compiled = {"blocks.0._orig_mod.conv.weight": torch.zeros(1), "blocks.0.conv.weight": torch.zeros(1)}
    assert without_prefix(compiled, ["x"]).keys() == compiled.keys()


def test_other_prefixes_stay():
    assert without_prefix({"other.weight": torch.zeros(1)}, ["weight"]).keys() == {"other.weight"}


def test_unused_records_are_not_read(tmp_path):
    """A checksum that differs in the state of the optimiser does not matter to the weights."""
    content = saved(tmp_path / "a.pth", {"G": OWN, "optimizer": {"m": torch.arange(900.0)}}).read_bytes()
    start = content.index(torch.arange(5.0).numpy().tobytes())
    path = tmp_path / "b.pth"
    path.write_bytes(content[:start] + b"\1" + content[start + 1 :])
    assert torch.equal(load_tensors(path)["weight"], OWN["weight"])


def test_shared_and_parted_storages_arrive_as_they_were(tmp_path):
    base = torch.arange(12.0)
    content = {
        "a": base,
        "b": base[2:8].view(2, 3).T,
        "c": base.to(torch.bfloat16),
        "d": base[:0],
        "e": torch.tensor(3),
    }
    for legacy in (False, True):
        loaded = load_tensors(saved(tmp_path / f"{legacy}.pth", content, legacy=legacy))
        assert all(
            torch.equal(loaded[name], value) and loaded[name].dtype == value.dtype for name, value in content.items()
        )
        assert loaded["b"].stride() == content["b"].stride()


def test_safetensors_are_read_with_their_metadata(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file(OWN, path, {"note": "x"})
    assert read_checkpoint(path).metadata == {"note": "x"}
    assert load_file(path).keys() == read_checkpoint(path).tensors.keys()
