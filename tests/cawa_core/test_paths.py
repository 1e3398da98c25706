from pathlib import Path

import pytest

from cawa_core.errors import InputError
from cawa_core.paths import user_path
from cawa_core.storage import open_storage
from cawa_core.weights import WeightStore
from cawa_core.weights.store import default_cache
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions, read_toml, with_absolute_real_images


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder, with the current folder elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def test_the_home_folder_is_expanded_wherever_a_path_is_taken(home, monkeypatch):
    (home / "a.toml").write_text('cache = "~/cache"\n', encoding="utf-8")
    (home / "g.pth").write_bytes(b"weights")
    (home / "real").mkdir()
    assert read_toml("~/a.toml") == {"cache": "~/cache"}
    assert open_storage("~/audit").everywhere == str(home / "audit")
    options = RunOptions(weights=("~/g.pth", "vgg16=~/v.pth"), class_folders="~/map.csv", cache="~/c")
    assert options.cache_folder == home / "c"
    absolute = options.with_absolute_paths()
    assert absolute.weights == (str(home / "g.pth"), f"vgg16={home}/v.pth")
    assert (absolute.class_folders, absolute.cache) == (str(home / "map.csv"), str(home / "c"))
    assert options.weight_store("biggan").file("biggan") == home / "g.pth"
    assert WeightStore({"vgg16": "~/g.pth"}).files("vgg16", ["v"]) == {"v": home / "g.pth"}
    assert with_absolute_real_images(audit_spec(real_images="~/real")).real_images == str(home / "real")
    monkeypatch.setenv("CAWA_CACHE", "~/mine")
    assert default_cache() == home / "mine"
    monkeypatch.delenv("CAWA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/xdg")
    assert default_cache() == home / "xdg/cawa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == home / ".cache/cawa"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~no-such-user/x", "home folder of a user who is not known here"),
        ("a\0b", "must be text without NUL"),
        ("a\udcff", "must be text without NUL; got 'a.udcff'"),
        ("x" * 300, "at most 3500 bytes, and 255 in each name; got x{40}…$"),
        ("x/" * 2000, "at most 3500 bytes, and 255 in each name"),
    ],
)
def test_paths_that_no_file_can_have(path, message):
    with pytest.raises(InputError, match=message):
        user_path(path)
    with pytest.raises(InputError):
        open_storage(path)


def test_other_paths_stay_as_they_are(home):
    for path in ("a/b", "./~", "a/~b", "s~", "../x/"):
        assert user_path(path) == Path(path)
