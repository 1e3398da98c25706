import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from cawa_core.real_images.feature_cache import FeatureCache

KEY = {"class": "c0ffee", "extractor": "beef", "protocol": "299 pixels", "image_size": 128}


class Computation:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self):
        self.count += 1
        whole = torch.arange(12.0).reshape(3, 4)
        return {"features": whole, "transposed": whole.T, "part": whole[1:], "single": whole.double().half()}


@pytest.fixture
def compute():
    return Computation()


def test_a_hit_computes_nothing_and_gives_the_same(tmp_path, compute):
    computed = FeatureCache(tmp_path / "cache").features(KEY, compute)
    kept = FeatureCache(tmp_path / "cache").features(dict(reversed(KEY.items())), compute)
    assert compute.count == 1
    assert kept.keys() == computed.keys()
    for name, tensor in compute().items():
        assert torch.equal(kept[name], tensor)
        assert kept[name].dtype == tensor.dtype
        assert torch.equal(computed[name], tensor)


@pytest.mark.parametrize(
    "other",
    [
        *({**KEY, name: "other"} for name in KEY),
        {**KEY, "image_size": "128"},
        {**KEY, "dtype": "float32"},
        {name: KEY[name] for name in list(KEY)[1:]},
    ],
)
def test_every_part_of_the_key_counts(tmp_path, compute, other):
    cache = FeatureCache(tmp_path)
    cache.features(KEY, compute)
    cache.features(other, compute)
    assert compute.count == 2
    cache.features(KEY, compute)
    assert compute.count == 2


def damaged_files():
    def cut(path):
        path.write_bytes(path.read_bytes()[:-1])

    def flip(path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    def strip(path):
        save_file(load_file(path), path)

    def other_key(path):
        cache = FeatureCache(path.parent)
        cache.features({**KEY, "class": "other"}, Computation())
        cache.path_of({**KEY, "class": "other"}).replace(path)

    return [cut, flip, strip, other_key, lambda path: path.write_bytes(b""), lambda path: path.write_text("text")]


@pytest.mark.parametrize("damage", damaged_files())
def test_a_damaged_or_foreign_file_is_computed_anew_and_replaced(tmp_path, compute, damage):
    cache = FeatureCache(tmp_path)
    cache.features(KEY, compute)
    damage(cache.path_of(KEY))
    again = cache.features(KEY, compute)
    assert compute.count == 2
    assert torch.equal(again["features"], compute()["features"])
    cache.features(KEY, compute)
    assert compute.count == 3


def test_without_a_folder_to_write_to_it_computes_and_warns_once(tmp_path, compute):
    (tmp_path / "file").write_text("")
    cache = FeatureCache(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="features are not cached"):
        assert torch.equal(cache.features(KEY, compute)["features"], compute()["features"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.features(KEY, compute)
    assert compute.count == 3


def test_errors_of_the_computation_pass_and_leave_nothing(tmp_path):
    def fail():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        FeatureCache(tmp_path).features(KEY, fail)
    assert list(tmp_path.iterdir()) == []
