import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cawa_core.errors import InputError
from cawa_core.weights import load_strictly, load_tensors


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(linear=nn.Linear(3, 2), norm=nn.BatchNorm1d(2)))


def other_values() -> dict[str, torch.Tensor]:
    return {name: tensor + 1 for name, tensor in small_model().state_dict().items()}


@pytest.fixture
def model():
    return small_model()


@pytest.fixture
def tensors():
    return other_values()


class Trap:
    """Creates a file when it is unpickled by a loader that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def save_legacy(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (torch.save, "weights.pth"),
        (save_legacy, "weights.pth"),
        (save_file, "weights.safetensors"),
        (save_file, "WEIGHTS.SAFETENSORS"),
        (save_file, "weights.pth"),
    ],
)
def test_every_format_gives_the_same_tensors(tmp_path, tensors, save, name):
    path = tmp_path / name
    save(tensors, path)
    loaded = load_tensors(path)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_code_in_a_pickle_does_not_run(tmp_path, tensors, save):
    path, trace = tmp_path / "weights.bin", tmp_path / "trace"
    save({"linear.weight": tensors["linear.weight"], "more": Trap(trace)}, path)
    with pytest.raises(InputError, match=rf"{path} holds more than tensors .*if you trust it, save") as caught:
        load_tensors(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize("save", [torch.save, save_legacy, save_file])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_truncated_files_are_named(tmp_path, save, share):
    path = tmp_path / ("weights.safetensors" if save is save_file else "weights.bin")
    save({"weight": torch.randn(50, 50)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        InputError, match=rf"{path} is truncated, damaged or not a checkpoint .*copy or save it"
    ) as caught:
        load_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"PK\x03\x04 and no more", bytes(1000)])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_other_files_are_no_checkpoints(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} is truncated, damaged or not a checkpoint"):
        load_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"weights: {tmp_path / 'none.pth'} is not a file"):
        load_tensors(tmp_path / "none.pth")


def test_training_checkpoints_are_unwrapped(tmp_path, tensors):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": tensors, "epoch": 3, "optimizer": {"param_groups": []}}, path)
    assert load_tensors(path).keys() == tensors.keys()


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([torch.zeros(1)], "it holds a list"),
        (torch.zeros(1), "it holds a tensor without a name"),
        ({"weight": torch.zeros(1), "epoch": 3}, "'epoch' is a int"),
        ({0: torch.zeros(1)}, "; 0 is a tensor without a name"),
        ({"weight": torch.zeros(2, 2).to_sparse()}, "'weight' is a sparse tensor"),
        ({"weight": torch.zeros(2, device="meta")}, "'weight' is a tensor on meta"),
        ({}, "it is empty"),
    ],
)
def test_anything_but_a_mapping_to_dense_tensors_is_refused(tmp_path, content, fault):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"{path} must map names to .*{fault}"):
        load_tensors(path)


def test_all_tensors_arrive_in_the_dtype_of_the_model(model, tensors):
    tensors["linear.weight"] = tensors["linear.weight"].double()
    tensors["norm.running_mean"] = tensors["norm.running_mean"].half()
    load_strictly(model, tensors, "weights.pth")
    for name, own in model.state_dict().items():
        assert own.dtype == small_model().state_dict()[name].dtype
        assert torch.equal(own, tensors[name].to(own.dtype))


def test_the_file_may_go_after_loading(tmp_path, model, tensors):
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    load_strictly(model, load_tensors(path), str(path))
    path.unlink()
    assert torch.equal(model.linear.weight, tensors["linear.weight"])


def without(name):
    return lambda tensors: tensors.pop(name)


def with_value(name, value):
    return lambda tensors: tensors.update({name: value})


def with_element(name, value):
    return lambda tensors: tensors[name].view(-1)[0].fill_(value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without("linear.weight"), r"tensor 'linear.weight' \[2, 3\] is missing;"),
        (without("norm.num_batches_tracked"), r"tensor 'norm.num_batches_tracked' \[\] is missing;"),
        (with_value("head", torch.zeros(4)), r"tensor 'head' \[4\] has no place in the model;"),
        (
            with_value("linear.weight", torch.zeros(3, 2)),
            r"'linear.weight' must have the shape \[2, 3\], got \[3, 2\];",
        ),
        (with_value("linear.bias", torch.zeros(2).long()), r"'linear.bias' must be torch.float32, got torch.int64;"),
        (with_element("linear.bias", float("nan")), "'linear.bias' holds values that are not finite"),
        (with_element("norm.running_var", float("inf")), "'norm.running_var' holds values that are not finite"),
        (with_value("linear.bias", torch.full((2,), 1e300, dtype=torch.float64)), "'linear.bias' holds values"),
    ],
)
def test_misfits_are_named_and_leave_the_model_untouched(model, tensors, change, fault):
    change(tensors)
    with pytest.raises(InputError, match=rf"^weights.pth does not fit Sequential: .*{fault}") as caught:
        load_strictly(model, tensors, "weights.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(own, small_model().state_dict()[name]) for name, own in model.state_dict().items())


def test_further_misfits_are_counted(model, tensors):
    del tensors["linear.weight"], tensors["linear.bias"]
    tensors["norm.weight"] = torch.zeros(7)
    with pytest.raises(InputError, match=r"'linear.weight' \[2, 3\] is missing \(and 2 more\)"):
        load_strictly(model, tensors, "weights.pth")


def test_values_that_overflow_the_model_are_not_finite(model, tensors):
    tensors["linear.bias"] = torch.tensor([1e6, 0.0])
    with pytest.raises(InputError, match=r"'linear.bias' holds values that are not finite in torch.float16"):
        load_strictly(model.half(), tensors, "weights.pth")


def test_the_allow_list_works_both_ways(model, tensors):
    del tensors["norm.num_batches_tracked"]
    tensors["AuxLogits.fc.weight"] = torch.zeros(5)
    load_strictly(model, tensors, "weights.pth", ignorable=["*.num_batches_tracked", "AuxLogits.*"])
    assert torch.equal(model.linear.weight, tensors["linear.weight"])
    assert model.norm.num_batches_tracked == 0


def test_the_allow_list_forgives_no_shape(model, tensors):
    tensors["linear.bias"] = torch.zeros(9)
    with pytest.raises(InputError, match="must have the shape"):
        load_strictly(model, tensors, "weights.pth", ignorable=["*"])
