import os
import pickle

import pytest

from cawa_core.errors import InputError
from cawa_core.weights import WeightStore, default_cache
from cawa_core.weights import store as stores
from cawa_core.weights.known import KNOWN, KnownFile
from tests.cawa_core.weights.conftest import CONTENT


@pytest.fixture
def known(server, monkeypatch):
    """Two models of the local server: ``single`` of one file, ``double`` of two."""
    monkeypatch.setitem(KNOWN, "single", (KnownFile("weights.bin", server.url),))
    monkeypatch.setitem(KNOWN, "double", (KnownFile("a.bin", server.url), KnownFile("b.json", server.url)))


@pytest.fixture
def store(tmp_path):
    return WeightStore(cache=str(tmp_path / "cache"))


def test_files_are_fetched_into_the_cache_and_found_there(server, known, store, tmp_path):
    expected = {name: tmp_path / "cache" / "double" / name for name in ("a.bin", "b.json")}
    assert store.files("double", ["a.bin", "b.json"]) == expected
    assert all(path.read_bytes() == CONTENT for path in expected.values())
    travelled = pickle.loads(pickle.dumps(WeightStore(cache=store.cache, offline=True)))
    assert travelled.files("double", ["a.bin", "b.json"]) == expected
    assert len(server.asked) == 2


def test_a_file_damaged_in_the_cache_is_refused(known, store):
    path = store.file("single")
    assert store.file("single") == path
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(InputError, match=rf"{path} must have the recorded SHA-256 .*: it was changed or damaged"):
        store.file("single")


def test_a_file_put_into_the_cache_by_hand_is_recorded(server, known, store, tmp_path):
    path = tmp_path / "cache" / "single" / "weights.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    assert store.file("single") == path
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match="must have the recorded SHA-256"):
        store.file("single")
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_used_as_it_is(known, store, tmp_path):
    path = tmp_path / "cache" / "single" / "weights.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    path.parent.chmod(0o555)
    try:
        assert store.file("single") == path
    finally:
        path.parent.chmod(0o755)


def test_a_damaged_record_is_an_error(known, store):
    record = store.file("single").with_name("SHA256.json")
    for content in ("{", "[]", '{"weights.bin": 1}'):
        record.write_text(content)
        with pytest.raises(InputError, match=rf"{record} .*; remove it to have digests recorded again"):
            store.file("single")


def test_offline_says_what_is_missing_and_where_it_goes(server, known, tmp_path):
    store = WeightStore(cache=str(tmp_path), offline=True)
    path = tmp_path / "single" / "weights.bin"
    with pytest.raises(InputError, match=rf"^weights.bin of single is not at {path}.*download {server.url} to {path}"):
        store.file("single")
    assert server.asked == []


def test_a_given_folder_must_hold_all_files(tmp_path):
    store = WeightStore(given={"double": str(tmp_path)})
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(InputError, match=rf"with a.bin, b.json; {tmp_path} lacks b.json"):
        store.files("double", ["a.bin", "b.json"])
    assert store.files("double", ["a.bin"]) == {"a.bin": tmp_path / "a.bin"}


def test_a_given_file_serves_for_one_file_whatever_it_is_called(tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"")
    store = WeightStore(given={"vgg16": str(mine), "own.module:factory": str(mine)})
    assert store.file("vgg16") == store.file("own.module:factory") == mine
    assert store.files("vgg16", ["any.pth"]) == {"any.pth": mine}
    with pytest.raises(InputError, match=r"must be a folder with a.bin, b.json; got the file"):
        store.files("vgg16", ["a.bin", "b.json"])


def test_a_given_path_must_exist(tmp_path):
    store = WeightStore(given={"vgg16": str(tmp_path / "nowhere")})
    assert store.is_given("vgg16") and not store.is_given("inception-v3")
    with pytest.raises(InputError, match="nowhere does not exist"):
        store.file("vgg16")


def test_unknown_models_and_files_are_named(store):
    with pytest.raises(InputError, match=r"weights of vgg-16 are not known to be downloadable.*did you mean 'vgg16'"):
        store.file("vgg-16")
    with pytest.raises(InputError, match=r"fetched as pytorch_model.bin, config.json; got 'model.safetensors'"):
        store.files("biggan-deep-128", ["model.safetensors"])
    with pytest.raises(InputError, match="weights of biggan-deep-128 are 2 files"):
        store.file("biggan-deep-128")


def test_the_default_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("CAWA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert default_cache() == tmp_path / ".cache" / "cawa"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "cawa"
    monkeypatch.setenv("CAWA_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    with pytest.raises(InputError, match=str(tmp_path / "own" / "vgg16" / "vgg16-397923af.pth")):
        WeightStore(offline=True).file("vgg16")


def test_published_names_and_addresses():
    files = {file.url: file.sha256_prefix for files in KNOWN.values() for file in files}
    models = "https://download.pytorch.org/models"
    biggan = "https://s3.amazonaws.com/models.huggingface.co/biggan"
    assert files[f"{models}/inception_v3_google-0cc3c7bd.pth"] == "0cc3c7bd"
    assert files[f"{models}/vgg16-397923af.pth"] == "397923af"
    assert files[f"{biggan}/biggan-deep-512-pytorch_model.bin"] is None
    assert f"{biggan}/biggan-deep-128-config.json" in files
    assert len(files) == 9


def test_long_downloads_say_how_far_they_are(monkeypatch, capsys):
    monkeypatch.setattr(stores, "LINE_EVERY_SECONDS", 0)
    progress = stores.progress_lines("weights.bin")
    progress(50_000_000, 225_000_000)
    progress(60_000_000, None)
    assert capsys.readouterr().err == ("fetching weights.bin: 50 of 225 MB\nfetching weights.bin: 60 MB\n")


def test_a_given_path_must_be_a_file(tmp_path):
    """Of models that cannot be fetched, too: the path is what is wrong."""
    os.mkfifo(tmp_path / "pipe")
    for given, message in (
        (tmp_path / "no.pth", "does not exist"),
        (tmp_path, "is a folder: pass the file in it"),
        (tmp_path / "pipe", "is a pipe or device"),
    ):
        with pytest.raises(InputError, match=f"weights of biggan must be a file; .*{message}"):
            WeightStore({"biggan": str(given)}).file("biggan")
