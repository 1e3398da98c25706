"""One contract on a file system and on S3, over real HTTP."""

import errno
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from cawa_core.errors import InputError
from cawa_core.storage import StorageError, StorageRefusedError, lease, open_storage
from tests.cawa_core.storage.conftest import PROXIES, remote


@pytest.fixture(params=["local", *PROXIES])
def storage(request, tmp_path):
    if request.param == "local":
        return open_storage(tmp_path / "audit")
    request.getfixturevalue(PROXIES[request.param])
    return remote(scheme=request.param)


def test_files_are_written_replaced_listed_and_removed(storage):
    assert storage.is_empty()
    storage.write("b.json", b"one")
    storage.write("tables/x/a.parquet", b"")
    storage.write("b.json", b"two")
    assert storage.read("b.json") == b"two"
    assert storage.names() == ["b.json", "tables/x/a.parquet"]
    assert storage.names("tables") == ["tables/x/a.parquet"]
    assert (storage.exists("b.json"), storage.exists("tables"), storage.is_empty()) == (True, False, False)
    storage.remove("b.json")
    storage.remove("b.json")
    with pytest.raises(FileNotFoundError):
        storage.read("b.json")
    storage.write("c.json", b"")
    storage.remove_all(["tables/x/a.parquet", "none", "c.json"])
    assert storage.names() == []


def test_a_file_written_piece_by_piece_gets_its_name_at_the_end(storage):
    piece = os.urandom(2**20)
    with storage.new_file("tables/x") as sink:
        for _ in range(12):  # more than one part of an upload
            sink.write(piece)
        assert storage.names("tables") == [] or "/." in storage.names("tables")[0]
        sink.name = f"part-{sink.sha256[:8]}"
    assert storage.read(f"tables/x/{sink.name}") == 12 * piece
    assert len(storage.names()) == 1


def test_a_file_that_is_given_up_leaves_nothing(storage):
    with pytest.raises(RuntimeError, match="half way"), storage.new_file("tables") as sink:
        sink.write(b"half")
        raise RuntimeError("half way")
    assert storage.names() == []


def test_a_journal_grows_and_is_cleared(storage):
    assert storage.lines("log") == []
    for line in (b"one", b"two"):
        storage.append("log", line)
    other = open_storage(storage.url)
    assert other.lines("log") == [b"one", b"two"]
    other.append("log", b"three")
    assert storage.lines("log") == [b"one", b"two", b"three"]
    storage.clear("log")
    storage.clear("log")
    assert storage.lines("log") == []
    storage.append("log", b"four")
    assert other.lines("log") == [b"four"]


def test_a_journal_is_cleared_although_answers_are_lost(away):
    proxy, storage = away
    for _ in range(3):
        for line in (b"one", b"two", b"three"):
            storage.append("log", line)
        proxy.share, proxy.kinds = 0.5, ("500 after", "reset after")
        storage.clear("log")
        proxy.share = 0.0
        assert storage.lines("log") == []


def test_a_file_is_replaced_over_what_was_seen_last(storage):
    for content in (b"one", b"two", b"two"):
        storage.replace("a", content)
    other = open_storage(storage.url)
    other.replace("a", b"three")
    assert storage.read("a") == b"three"
    storage.replace("a", b"four")
    assert other.read("a") == b"four"


def test_what_a_first_writing_left_that_was_cut_short(tmp_path):
    """The folder counts as empty still; what is left is found wherever it is, and a file of others is none of it."""
    storage = open_storage(tmp_path)
    (tmp_path / ".part.a1b2c3").write_bytes(b"{")
    (tmp_path / ".lock").touch()
    assert storage.is_empty()
    storage.write("figures/a.svg", b"")
    for name in ("figures/.part.d4", ".party"):
        (tmp_path / name).write_bytes(b"")
    leftovers = [name for name in storage.names() if storage.is_leftover(name)]
    assert leftovers == [".part.a1b2c3", "figures/.part.d4"]
    assert not storage.is_empty()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.hidden").touch()
    assert not open_storage(tmp_path / "other").is_empty()


def test_no_room_for_temporary_files(away, monkeypatch, tmp_path):
    """A file to upload cannot be made, which is said in a line; a copy of one that is read can be done without."""
    _, storage = away
    storage.write("a", b"content")
    message = r"cannot be written on this machine: .*; free space or set TMPDIR"
    with (
        pytest.raises(StorageError, match=message.replace(".*", "No space left on device")),
        Path("/dev/full").open("wb", buffering=0) as full,
        storage.new_file("tables") as sink,
    ):
        sink.file = full
        sink.write(b"half")
    assert storage.read_recorded("a", "digest") == b"content"
    copies = storage._copies.name
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        assert storage.read_recorded("a", "other") == b"content"
    assert [path.name for path in Path(copies).iterdir()] == ["digest"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match=message), storage.new_file("tables"):
        pass
    another = open_storage(storage.url)
    another.bring_near([("a", "digest"), ("a", "other")])
    assert another.read_recorded("a", "digest") == b"content"


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_recorded_files_are_read_near(storage):
    storage.write("a", b"content")
    storage.bring_near([("a", "digest"), ("b", "other"), ("c", "third")])
    assert storage.read_recorded("a", "digest") == b"content"
    with pytest.raises(FileNotFoundError):
        storage.read_recorded("b", "other")


def test_one_driver_at_a_time(storage, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    storage.write("audit.json", b"{}")
    other = open_storage(storage.url)
    with storage.locked():
        with pytest.raises(InputError, match="another cawa is at work in"), other.locked():
            pass
        assert storage.names() == ["audit.json"]
    with other.locked():
        pass


def test_two_writers_of_one_journal_find_out(proxy):
    one = remote()
    one.lines("log")
    two = open_storage(one.url)
    two.append("log", b"two")
    with pytest.raises(StorageError, match="another cawa is writing log"):
        one.append("log", b"one")
    assert two.lines("log") == [b"two"]


def test_a_store_that_fails_for_a_while_loses_and_doubles_nothing(proxy):
    """A third of all requests fail, some of them after they were done."""
    storage = remote(patience=8.0)  # a request may take a quarter of it
    proxy.share, proxy.silence = 0.33, 3.0
    for number in range(25):
        storage.write(f"files/{number:02d}", str(number).encode())
        storage.append("log", str(number).encode())
    assert storage.lines("log") == [str(number).encode() for number in range(25)]
    assert [storage.read(name) for name in storage.names("files")] == [str(number).encode() for number in range(25)]
    assert min(proxy.seen[kind] for kind in proxy.kinds) >= 1


def test_a_store_that_stays_away_is_a_clear_error(proxy):
    storage = remote(patience=3.0)
    storage.write("a", b"there")
    proxy.share, proxy.kinds = 1.0, ("500", "reset")
    start = time.monotonic()
    with pytest.raises(StorageError, match=r"writing b has failed for 3 s: "):
        storage.write("b", b"")
    assert 2 < time.monotonic() - start < 15
    proxy.share = 0.0
    assert storage.names() == ["a"]


def test_what_no_waiting_mends_is_said_at_once(away):
    _, storage = away
    nowhere = open_storage(f"{storage.url[:2]}://no-such-bucket/audit", 60.0)
    start = time.monotonic()
    with pytest.raises(StorageRefusedError, match="no such bucket"):
        nowhere.write("a", b"")
    with pytest.raises(StorageRefusedError, match="no such bucket"):
        nowhere.names()
    assert time.monotonic() - start < 10


def test_reading_goes_on_while_another_writes(proxy):
    """What is read is one writing or the next, never a part."""
    storage, contents = remote(), [bytes([value]) * 2**21 for value in range(4)]
    storage.write("a", contents[0])
    writing = threading.Thread(target=lambda: [storage.write("a", content) for content in contents])
    writing.start()
    while writing.is_alive():
        assert storage.read("a") in contents
    writing.join()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://bucket", "must have a bucket and a folder"),
        ("ftp://host/folder", "must be a path, or a URL of s3, gs, az; got ftp://host/folder"),
    ],
)
def test_folders_that_cannot_be(url, message):
    with pytest.raises(InputError, match=message):
        open_storage(url)
