"""Drivers that are killed, stores that fail, disks that fill up, two drivers at once: nothing lost, nothing twice."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from uuid import uuid4

import pytest

from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from cawa_core.tables.parquet import TABLES_FOLDER
from tests.object_store import BUCKET
from tests.workflows.conftest import TINY, flags_of, small_audit
from workflows.folders.verify import verify
from workflows.results.derive import derived_stages

pytestmark = [pytest.mark.slow, pytest.mark.ray]

KILLS = {"local": 10, "s3": 5}
"""On S3 each start takes longer, because requests fail."""


@pytest.fixture(scope="module")
def expected(undisturbed):
    """Digests of every file of an audit that nothing happened to."""
    return digests(undisturbed)


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    """Where an audit goes: a folder, or S3 of whose requests a tenth fail."""
    if request.param == "local":
        return str(tmp_path / "audit")
    proxy = request.getfixturevalue("proxy")
    proxy.share, proxy.silence = 0.1, 0.3
    return f"s3://{BUCKET}/{uuid4().hex}/audit"


def digests(folder) -> dict[str, dict[str, str]]:
    receipts = Manifest.read(folder).receipts.values()
    return {receipt.shard: {file.file: file.sha256 for file in receipt.files} for receipt in receipts}


def start_audit(folder) -> multiprocessing.Process:
    """An audit in a process of its own, forked from one that has the libraries loaded but nothing started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.workflows.conftest"])
    process = context.Process(target=_audit, args=(folder, dict(os.environ)))
    process.start()
    return process


def _audit(folder, environment):
    os.environ.update(environment)
    small_audit(folder, TINY, report=not folder.startswith("s3:"))


def test_a_driver_killed_again_and_again_loses_and_doubles_nothing(place, expected, undisturbed):
    """SIGKILL at random moments; each time what was published stays as it was, and verify names every stray file."""
    seconds = sum(receipt.seconds for receipt in Manifest.read(undisturbed).receipts.values())
    moments, published = random.Random(0), {}
    for _ in range(KILLS["s3" if place.startswith("s3:") else "local"]):
        process = start_audit(place)
        process.join(moments.uniform(0.2, 1.2) * seconds)
        process.kill()
        process.join()
        published = assert_kept(place, published)
    process = start_audit(place)
    process.join()
    assert process.exitcode == 0
    assert_kept(place, published)
    assert digests(place) == expected
    assert verify(place).faults == ()
    assert len(open_storage(place).names(TABLES_FOLDER)) == sum(len(files) for files in expected.values())


def assert_kept(place, before: dict[str, tuple]) -> dict[str, tuple]:
    """What was recorded is recorded still, computed at the same time in the same seconds; strays are named."""
    storage = open_storage(place)
    if not storage.exists("audit.json"):
        return before
    manifest = Manifest.read(storage)
    now = {shard: (receipt.seconds, receipt.files) for shard, receipt in manifest.receipts.items()}
    derived = derived_stages(manifest)
    assert {shard: now.get(shard) for shard in before if shard not in derived} == {
        shard: kept for shard, kept in before.items() if shard not in derived
    }
    faults = verify(storage).faults
    strays = set(manifest.strays())
    assert {fault.subject for fault in faults if fault.kind in ("orphan", "duplicate")} == strays
    assert {fault.kind for fault in faults} <= {"orphan", "duplicate", "incomplete", "stale"}
    return now


def test_a_store_that_fails_now_and_then_changes_nothing(proxy, expected):
    proxy.share, proxy.silence = 0.2, 0.3
    place = f"s3://{BUCKET}/{uuid4().hex}/audit"
    result = small_audit(place, TINY, storage_patience=40.0)
    assert (result.quarantined, result.retried) == ((), 0)
    assert digests(place) == expected
    proxy.share = 0.0
    assert verify(place).faults == ()
    assert small_audit(place, TINY).computed == 0


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_store_that_stays_away_stops_the_audit_and_the_next_goes_on(proxy, expected, executor):
    place = f"s3://{BUCKET}/{uuid4().hex}/audit"
    storage, process = (
        open_storage(place),
        started(place, "--storage-patience=3", "--workers=1", executor=executor),
    )
    while len(Manifest.read(storage).receipts) < 4:
        time.sleep(0.1)
        assert process.poll() is None
    proxy.share, proxy.kinds = 1.0, ("500", "reset")
    _, printed = process.communicate()
    assert process.returncode == 1
    assert "has failed for 3 s" in printed
    assert "Traceback" not in printed
    assert "Exception ignored" not in printed
    proxy.share = 0.0
    kept = digests(place)
    assert len(kept) >= 4
    assert Manifest.read(place).quarantined == {}
    small_audit(place, TINY)
    assert digests(place) == expected


def started(place, *options, executor="inline") -> subprocess.Popen:
    """An audit by the command line, whose stderr can be read."""
    arguments = [*command(place, executor), *options]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def command(place, executor="inline") -> list[str]:
    """An audit as :data:`TINY` by the command line, without a report."""
    audit = [sys.executable, "-m", "workflows", "audit", f"--output={place}", f"--executor={executor}", "--no-report"]
    return [*audit, *flags_of(TINY)]


def test_a_second_driver_started_by_mistake_refuses(place, expected):
    drivers = [started(place) for _ in range(2)]
    printed = [driver.communicate()[1] for driver in drivers]
    codes = [driver.returncode for driver in drivers]
    assert sorted(codes) == [0, 2], printed
    refused = printed[codes.index(2)]
    assert "another cawa is at work" in refused
    assert digests(place) == expected
    assert verify(place).faults == ()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of sixteen megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system takes more rights than these")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_full_disk_stops_the_audit_and_the_next_goes_on(small_disk, expected, executor):
    place, ballast = small_disk / "audit", small_disk / "ballast"
    ballast.write_bytes(bytes(2**24 - 200_000))
    done = subprocess.run([*command(place, executor), "--workers=1"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "No space left on device; finished shards are kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    before = assert_kept(place, {})
    assert 0 < len(before) < len(expected)
    ballast.unlink()
    small_audit(place, TINY)
    assert_kept(place, before)
    assert digests(place) == expected
    assert verify(place).faults == ()


def test_an_interrupted_audit_says_so_and_keeps_what_is_done(tmp_path, expected):
    process = subprocess.Popen(
        command(tmp_path / "audit"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while len(Manifest.read(tmp_path / "audit").receipts) < 3:
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate()
    assert process.returncode == 1
    assert "interrupted; finished shards are kept" in printed
    assert "Traceback" not in printed
    kept = assert_kept(tmp_path / "audit", {})
    assert len(kept) >= 3
    small_audit(tmp_path / "audit", TINY)
    assert_kept(tmp_path / "audit", kept)
    assert digests(tmp_path / "audit") == expected
