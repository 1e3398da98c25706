"""``cawa convert``: other weights of a checkpoint, and settings that BigGAN-PyTorch's checkpoints do not hold."""

import pytest
import torch
from safetensors.torch import load_file

from cawa_core.generators.biggan.generator import TrainingFlags, load_biggan
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore
from tests.cawa_core.generators.test_biggan import FLAGS, images_of, made, recorded
from tests.workflows.test_cli import run
from workflows.folders.identity import identity_of
from workflows.lab import Lab
from workflows.options.run import RunOptions, recommended_spec


def loaded(path):
    return load_biggan(GeneratorRequest("biggan", WeightStore({"biggan": str(path)})))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mybn_standing", ["--statistics", "standing"]),
        ("cross_replica", ["--cross-replica-gain", "added"]),
        ("deep_cross_replica", ["--cross-replica-gain", "added", "--batch-norm-eps", "1e-4"]),
    ],
)
def test_settings_travel_with_the_weights(monkeypatch, capsys, tmp_path, name, options):
    old, new = tmp_path / "G_ema.pth", tmp_path / "G_ema.safetensors"
    torch.save(recorded(name)[0], old)
    code, printed = run(monkeypatch, capsys, "sites", "biggan", "--weights", old)
    assert code == 2 and "cawa convert FILE NEW.safetensors --" in printed.err and printed.err.count("\n") == 1
    code, printed = run(monkeypatch, capsys, "convert", old, new, *options)
    assert (code, printed.err) == (0, "")
    assert torch.equal(images_of(loaded(new), name), images_of(made(name, FLAGS[name]), name))


def test_the_other_weights_of_a_checkpoint(monkeypatch, capsys, tmp_path):
    old, new = tmp_path / "training.pth", tmp_path / "G.safetensors"
    weights = recorded("plain")[0]
    averaged = {name: value * 2 if name == "linear.bias" else value for name, value in weights.items()}
    torch.save({"G": weights, "G_ema": averaged, "epoch": 3}, old)
    assert "weights G_ema of training.pth" in loaded(old).description
    lab = Lab.open("biggan", needs=(), options=RunOptions(weights=(str(old),)))
    identity = identity_of(lab, recommended_spec({"generator": "biggan"}), ())
    assert "weights G_ema of training.pth" in identity.as_data()["protocols"]["generator"]
    code, printed = run(monkeypatch, capsys, "convert", old, new, "--key", "G")
    assert code == 0 and printed.out == f"{new}: {len(weights)} tensors, weights G of training.pth\n"
    assert torch.equal(load_file(new)["linear.bias"], weights["linear.bias"])
    assert torch.equal(images_of(loaded(new), "plain"), images_of(made("plain", TrainingFlags()), "plain"))


@pytest.mark.parametrize(
    ("new", "options", "message"),
    [
        ("there.safetensors", [], "new must be a file that does not exist and ends in .safetensors"),
        ("new.pth", [], "new must be a file that does not exist and ends in .safetensors"),
        ("old.pth/new.safetensors", [], "cannot be written"),
        ("new.safetensors", ["--key", "H"], "must map names to tensors; it holds none under 'H'"),
        ("new.safetensors", ["--statistics", "sums"], "statistics: input should be"),
        ("new.safetensors", ["--statistics", "standing"], "no 'accumulation_counter' is above 0"),
        ("new.safetensors", ["--batch-norm-eps", "-1"], "batch_norm_eps: input should be"),
    ],
)
def test_what_cannot_be_converted_is_refused(monkeypatch, capsys, tmp_path, new, options, message):
    (tmp_path / "there.safetensors").touch()
    torch.save(recorded("plain")[0], tmp_path / "old.pth")
    code, printed = run(monkeypatch, capsys, "convert", tmp_path / "old.pth", tmp_path / new, *options)
    assert code == 2 and message in printed.err and printed.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.pth", "there.safetensors"]
