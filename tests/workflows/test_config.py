import dataclasses

import pytest

from cawa_core.errors import InputError
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions, merged_options, read_toml, recommended_spec


def test_a_generator_brings_what_suits_it_and_flags_go_before():
    spec, _ = merged_options(None, {"generator": "biggan-deep-256", "masking_latents": 8})
    assert (spec.evaluator, spec.fid_features, spec.manifold_features) == ("inception-v3", "fid-inception", "vgg16")
    assert (spec.masking_group_size, spec.masking_latents, spec.real_images) == (5, 8, "")
    assert recommended_spec({"generator": "biggan"}).masking_group_size == 1
    assert recommended_spec({"generator": "mine:factory"}).evaluator == ""
    assert recommended_spec({}) == audit_spec()


def test_spec_files_of_other_editors(tmp_path):
    file = tmp_path / "audit.toml"
    text = 'seed = 3\r\nclasses = ["桃, 子", 1]\r\n'
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_bytes(text.encode(encoding))
        assert read_toml(file) == {"seed": 3, "classes": ["桃, 子", 1]}
    for content in (text.encode("utf-16"), text.encode("gbk"), b"seed = 1\nseed = 2", b"seed = 0,5"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"spec file .* is not TOML: "):
            read_toml(file)
    with pytest.raises(InputError, match=r"spec file .* cannot be read: Is a directory"):
        read_toml(tmp_path)


def test_weights_by_name_and_of_the_generator(tmp_path):
    options = RunOptions(weights=("a/deep", "vgg16=b=c.pth"), cache="here", offline=True)
    store = options.weight_store("biggan-deep-128")
    assert store.given == {"biggan-deep-128": "a/deep", "vgg16": "b=c.pth"}
    assert (store.cache, store.offline) == ("here", True)
    (tmp_path / "lr=0.1").mkdir()
    for word, expected in (
        (f"{tmp_path}/lr=0.1", f"{tmp_path}/lr=0.1"),
        (f"biggan={tmp_path}/lr=0.1", f"{tmp_path}/lr=0.1"),
    ):
        options = RunOptions(weights=(word,)).with_absolute_paths()
        assert options.weight_store("biggan").given == {"biggan": expected}
    with pytest.raises(InputError, match="'incption-v3' is none; did you mean 'inception-v3'"):
        RunOptions(weights=("incption-v3=a",)).weight_store("biggan")
    with pytest.raises(InputError, match="one path a model; got a and b for biggan"):
        RunOptions(weights=("a", "biggan=b")).weight_store("biggan")


def test_paths_are_made_absolute_for_workers_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = RunOptions(weights=("deep", "vgg16=v.pth"), class_folders="map.csv", cache="c").with_absolute_paths()
    assert options.weights == (str(tmp_path / "deep"), f"vgg16={tmp_path / 'v.pth'}")
    assert options.class_folders == str(tmp_path / "map.csv")
    assert options.cache == str(tmp_path / "c")
    plain = RunOptions(cache="c").with_absolute_paths()
    assert dataclasses.replace(plain, cache="") == RunOptions()
