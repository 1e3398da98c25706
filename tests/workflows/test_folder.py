"""Whose folder it is, from the first moment on."""

import pytest

from cawa_core.errors import InputError
from cawa_core.storage import open_storage
from tests.workflows.conftest import small_audit
from workflows.folders import folder as folders


@pytest.fixture
def opened(monkeypatch):
    """Audits end when they have their folder."""

    class ReachedError(Exception):
        pass

    def stop(*_):
        raise ReachedError

    monkeypatch.setattr("workflows.running.audit._done", stop)
    return ReachedError


def test_an_audit_killed_in_its_first_writing_can_be_repeated(tmp_path, tiny_spec, opened):
    (tmp_path / ".part.a1b2c3").write_bytes(b"{")
    (tmp_path / ".lock").touch()
    with pytest.raises(opened):
        small_audit(tmp_path, tiny_spec)
    assert folders.read_audit(tmp_path).class_ids == [1, 8]


def test_a_new_folder_is_locked_before_it_is_described(tmp_path, tiny_spec):
    """Of two that begin at once the second describes nothing."""
    storage = open_storage(tmp_path / "audit")
    with storage.locked(), pytest.raises(InputError, match="another cawa is at work"):
        small_audit(storage.url, tiny_spec)
    assert storage.names() == []


def test_a_folder_of_others_gets_no_lock(tmp_path, tiny_spec):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        small_audit(tmp_path, tiny_spec)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
