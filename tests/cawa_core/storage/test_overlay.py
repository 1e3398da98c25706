"""Changes beside a folder that is only read."""

import pytest

from cawa_core.storage import LocalStorage
from cawa_core.storage.overlay import Overlay


def test_changes_hide_the_folder_and_never_reach_it(tmp_path):
    base = LocalStorage(tmp_path / "base")
    for name in ("a", "tables/x/b", "c"):
        base.write(name, b"old")
    base.append("journal", b"one")
    before = {path: path.read_bytes() for path in (tmp_path / "base").rglob("*") if path.is_file()}
    overlay = Overlay(base, LocalStorage(tmp_path / "changes"))
    overlay.write("a", b"new")
    overlay.replace("d", b"new")
    overlay.append("journal", b"two")
    with overlay.new_file("tables/x") as sink:
        sink.write(b"new")
        sink.name = "e"
    overlay.remove("c")
    overlay.remove("d")
    assert [overlay.read(name) for name in ("a", "tables/x/b", "c", "tables/x/e")] == [b"new", b"old", b"old", b"new"]
    assert overlay.read_recorded("a", "") == b"new"
    assert overlay.lines("journal") == [b"one", b"two"]
    assert overlay.names("tables") == ["tables/x/b", "tables/x/e"]
    assert (overlay.exists("c"), overlay.exists("d")) == (True, False)
    with pytest.raises(FileNotFoundError):
        overlay.read("d")
    overlay.clear("journal")
    assert {path: path.read_bytes() for path in (tmp_path / "base").rglob("*") if path.is_file()} == before
