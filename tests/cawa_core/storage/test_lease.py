"""Of two drivers in an object store one works, whoever sleeps, dies or loses answers."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cawa_core.errors import InputError
from cawa_core.storage import StorageError, lease, objects, open_storage
from cawa_core.storage.base import WriteConflictError
from cawa_core.tables import Manifest

SOMEBODY = b'{"host": "elsewhere", "process": 1, "token": "y", "beats": 0}'


def direct(proxy, storage, monkeypatch):
    """The same folder by a connection that nothing befalls."""
    with monkeypatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL"):
            patch.setenv(name, f"http://127.0.0.1:{proxy.target}")
        return open_storage(storage.url)


def test_a_holder_shows_that_it_lives(away, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    _, storage = away
    with storage.locked():
        seen = set()
        for _ in range(10):
            seen.add(json.loads(storage.read(lease.LEASE))["beats"])
            time.sleep(0.1)
    assert len(seen) > 3
    assert not storage.exists(lease.LEASE)


def test_a_lease_of_a_dead_process_is_taken_at_once(away):
    _, storage = away
    code = f"""
import os
from cawa_core.storage import open_storage
with open_storage({storage.url!r}).locked():
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    start = time.monotonic()
    with storage.locked():
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("content", [SOMEBODY, b"", b"[1]", b'{"host": 3}'])
def test_a_lease_of_a_silent_holder_elsewhere_is_taken_after_a_wait(away, monkeypatch, content):
    """A damaged one, too."""
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 1.5)
    _, storage = away
    storage.write(lease.LEASE, content)
    start = time.monotonic()
    with storage.locked():
        assert time.monotonic() - start > 1.5


def test_who_lost_the_lease_writes_nothing_more(away, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    _, storage = away
    with storage.locked():
        storage.write("a", b"mine")
        _, tag = storage.read_versioned(lease.LEASE)
        thief = open_storage(storage.url)
        deadline = time.monotonic() + 10
        while True:  # its tag changes with every beat
            try:
                thief.write_if(lease.LEASE, SOMEBODY, tag)
                break
            except WriteConflictError:
                assert time.monotonic() < deadline
                _, tag = storage.read_versioned(lease.LEASE)
        time.sleep(1)
        for attempt in (
            lambda: storage.write("a", b"late"),
            lambda: storage.append("log", b"late"),
            lambda: storage.remove("a"),
        ):
            with pytest.raises(StorageError, match="another cawa has taken this audit over"):
                attempt()
    assert thief.read("a") == b"mine"
    assert b"elsewhere" in thief.read(lease.LEASE)


def test_a_writing_that_is_repeated_ends_when_the_lease_is_lost(away, monkeypatch):
    """The store fails while one driver writes; when it is back, another has the folder."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 0.4)
    proxy, storage = away
    thief = direct(proxy, storage, monkeypatch)
    with storage.locked(), ThreadPoolExecutor(1) as pool:
        proxy.share, proxy.kinds = 1.0, ("500",)
        written = pool.submit(storage.write, "manifest.json", b"stale")
        time.sleep(1)
        thief.write(lease.LEASE, SOMEBODY)
        thief.write("manifest.json", b"theirs")
        proxy.share = 0.0
        with pytest.raises(StorageError, match="another cawa has taken this audit over"):
            written.result()
    assert thief.read("manifest.json") == b"theirs"
    assert thief.read(lease.LEASE) == SOMEBODY


def test_who_slept_looks_at_the_lease_before_it_writes(away, monkeypatch):
    """No sign of life in time to find out by: it is due long after the writing."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 60.0)
    monkeypatch.setattr(lease, "DEAD_AFTER_SECONDS", 0.4)
    _, storage = away
    with storage.locked():
        storage.write("a", b"mine")
        open_storage(storage.url).write(lease.LEASE, SOMEBODY)
        time.sleep(0.3)
        for attempt in (
            lambda: storage.write("a", b"late"),
            lambda: storage.replace("a", b"late"),
            lambda: storage.append("log", b"late"),
            lambda: storage.clear("log"),
        ):
            with pytest.raises(StorageError, match="another cawa has taken this audit over"):
                attempt()
    assert storage.read("a") == b"mine"


def test_a_sign_of_life_whose_answer_is_lost_does_not_lose_the_lease(away, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(objects, "SIGN_PATIENCE", 0.5)
    proxy, storage = away
    with storage.locked():
        proxy.share, proxy.kinds = 1.0, ("500 after",)
        time.sleep(3)
        proxy.share = 0.0
        time.sleep(0.5)
        storage.write("a", b"mine")
        assert storage.read("a") == b"mine"
    assert not storage.exists(lease.LEASE)


def test_a_store_that_is_away_at_the_end_hides_no_error(away):
    proxy, storage = away
    storage.patience = 60.0
    with (
        pytest.raises(RuntimeError, match="the error"),
        pytest.warns(UserWarning, match="the next audit waits for the lease") as told,
        storage.locked(),
    ):
        proxy.share, proxy.kinds, start = 1.0, ("500", "reset"), time.monotonic()
        raise RuntimeError("the error")
    assert time.monotonic() - start < 20
    assert len(told) == 1


def test_the_manifest_of_another_driver_is_not_overwritten(away):
    """Both believed that the folder was theirs: the later one finds out, whatever became of the lease."""
    _, storage = away
    stale, new = Manifest.read(storage), Manifest.read(open_storage(storage.url))
    new.quarantine("shard", "new")
    with pytest.raises(StorageError, match=r"another cawa has written manifest.json; run the same command"):
        stale.quarantine("shard", "stale")
    new.quarantine("other", "new")
    assert Manifest.read(open_storage(storage.url)).quarantined == {"shard": "new", "other": "new"}


def test_a_store_without_the_bucket_is_bad_input(away):
    _, storage = away
    nowhere = open_storage(f"{storage.url[:2]}://no-such-bucket/audit", 5.0)
    with pytest.raises(InputError, match=r"output cannot be written: .*no such bucket.*choose another --output"):
        nowhere.locked().__enter__()
