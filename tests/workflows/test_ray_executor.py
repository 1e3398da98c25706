"""The same rows on Ray; lost workers and a lost driver cost only what they held."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from cawa_core.errors import InputError
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest, Receipt
from tests.poisoned import MARKER
from tests.workflows.conftest import TINY, flags_of, small_audit
from tests.workflows.test_audit import compare
from workflows.executors.ray.dispatch import Dispatch
from workflows.executors.ray.worker import threads_of_a_worker
from workflows.executors.shard_queue import MAX_ERRORS
from workflows.folders.folder import open_folder
from workflows.options.run import RunOptions
from workflows.planning.plan import plan
from workflows.running.execution import Failure, Retry
from workflows.running.job import Job

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory):
    """Address of a cluster of two CPUs whose metrics go out twice a second; this process is connected to it."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARKER, str(tmp_path_factory.mktemp("ray") / "marker"))  # workers inherit the environment of Ray
        system = {"metrics_report_interval_ms": 500}
        options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 2**27}
        yield ray.init(address="local", num_cpus=2, _system_config=system, **options).address_info["address"]
        ray.shutdown()


@pytest.fixture(scope="module")
def on_ray(ray_cluster, tmp_path_factory):
    """Folder of an audit on the cluster."""
    folder = tmp_path_factory.mktemp("on ray") / "audit"
    small_audit(folder, TINY, executor="ray", workers=2)
    return folder


@pytest.fixture
def ray_folder(monkeypatch):
    """Where a Ray of this test alone keeps its sockets, whose path must be short; its processes name it."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as name:
        monkeypatch.setenv("RAY_TMPDIR", name)
        yield name


def assert_gone(folder: str) -> None:
    """No process of the Ray in that folder is left, soon."""
    deadline = time.monotonic() + 30
    while left := [command for command in commands() if folder in command]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def commands() -> list[str]:
    """Command lines of all processes."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return lines


def test_ray_gives_the_same_rows(on_ray, undisturbed):
    """Two workers of one thread each against one process of two: rounding only."""
    assert Manifest.read(on_ray).quarantined == {}
    compare(undisturbed, on_ray, tolerance=1e-4)


def test_prometheus_sees_the_shards_by_stage(on_ray, tiny_spec):
    import ray

    receipts = [receipt.stage for receipt in Manifest.read(on_ray).receipts.values()]
    expected = {stage: receipts.count(stage) for stage in tiny_spec.stages}
    url = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + 60
    while finished_by_stage(page := urllib.request.urlopen(url).read().decode()) != expected:
        assert time.monotonic() < deadline, page
        time.sleep(0.5)
    for name in ("cawa_shard_seconds", "cawa_workers", "cawa_shards_waiting"):
        assert name in page


def finished_by_stage(page: str) -> dict[str, float]:
    """Counts of finished shards on a page of metrics."""
    return {
        re.search(r'stage="(\w+)"', line, re.IGNORECASE)[1]: float(line.split()[-1])
        for line in page.splitlines()
        if "cawa_shards_total" in line and 'outcome="finished"' in line.lower()
    }


def opened(folder, spec) -> Job:
    """The driver's models, and a folder that is the audit's, as workers ask."""
    job = Job.open(spec, RunOptions(batch_size=64))
    labels = job.lab.generator.classes.labels(job.lab.class_ids)
    open_folder(open_storage(folder), job.identity, "cpu", labels, job.count_units)
    return job


def test_a_killed_worker_costs_only_its_shard(ray_cluster, undisturbed, tmp_path, tiny_spec):
    folder = tmp_path / "audit"
    job = opened(folder, tiny_spec)
    manifest = Manifest.read(folder)
    shards = plan(job, manifest, None)
    dispatch = Dispatch(job, RunOptions(workers=2), open_storage(folder), shards)
    killed, retried = False, []
    for outcome in dispatch.outcomes():
        if isinstance(outcome, Retry):
            retried.append(outcome.shard)
            continue
        manifest.add(outcome)
        busy = next((slot for slot in dispatch.slots if slot.shard is not None), None)  # one of two may be starting
        if not killed and len(manifest.receipts) >= 3 and busy is not None:
            busy_shard = busy.shard
            os.kill(busy.process, signal.SIGKILL)
            killed = True
    assert sorted(manifest.receipts) == sorted(shard.name for shard in shards)
    assert retried == [busy_shard]
    for name in ("masking", "class_metrics"):
        assert len(manifest.table(name)) == len(Manifest.read(undisturbed).table(name))


def cawa(address: str, *options: str) -> subprocess.CompletedProcess:
    """An audit by the command line on the cluster at an address."""
    command = [sys.executable, "-m", "workflows", "audit", "--no-report", *options]
    return subprocess.run(command, env=os.environ | {"RAY_ADDRESS": address}, capture_output=True, text=True)


def test_a_worker_whose_device_broke_is_replaced(ray_cluster, tmp_path, tiny_spec):
    """What fails in a process whose device is lost runs in the next one."""
    spec = dataclasses.replace(tiny_spec, generator="tests.poisoned:with_broken_device", stages=("masking",))
    done = cawa(ray_cluster, "--workers=1", f"--output={tmp_path / 'audit'}", *flags_of(spec))
    assert done.returncode == 0, done.stderr
    assert "12 shards computed, 0 reused, 1 retried, 0 quarantined" in done.stdout
    assert "CUDA error: device-side assert triggered" in done.stderr


def test_a_shard_that_always_fails_is_given_up(ray_cluster, tmp_path, tiny_spec):
    job = opened(tmp_path, tiny_spec)
    shards = plan(job, Manifest.read(tmp_path), None)
    broken = dataclasses.replace(shards[0], class_ids=(99,))
    dispatch = Dispatch(job, RunOptions(workers=1), open_storage(tmp_path), [broken, shards[-1]])
    outcomes = []
    for outcome in dispatch.outcomes():
        outcomes.append(outcome)
        dispatch.options = RunOptions(workers=1, start_timeout=0.05)  # while all shards pause, the worker is there
    assert [outcome.shard for outcome in outcomes if isinstance(outcome, Retry)] == [broken] * (MAX_ERRORS - 1)
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failure.shard == broken
    assert "IndexError" in failure.error
    assert [outcome.shard for outcome in outcomes if isinstance(outcome, Receipt)] == [shards[-1].name]


def test_a_worker_that_has_other_files_does_not_start(ray_cluster, tmp_path, tiny_spec):
    """Of another model, another seed, or in a folder of its own disk."""
    job, other = opened(tmp_path / "one", tiny_spec), dataclasses.replace(tiny_spec, seed=1)
    shards, options = plan(job, Manifest.read(tmp_path / "one"), None), RunOptions(workers=1)
    opened(tmp_path / "two", other)
    with pytest.raises(InputError, match=r"a worker cannot start: on .*another subject: seed 1 there, 0 now"):
        list(Dispatch(job, options, open_storage(tmp_path / "two"), shards).outcomes())
    with pytest.raises(InputError, match=r"no audit folder.*all nodes need the driver's files and folder"):
        list(Dispatch(job, options, open_storage(tmp_path / "three"), shards).outcomes())


def test_a_node_on_which_no_worker_starts_costs_only_itself(ray_cluster, tmp_path, tiny_spec):
    spec = dataclasses.replace(tiny_spec, generator="tests.poisoned:with_two_places", stages=("masking",))
    done = cawa(ray_cluster, "--workers=2", f"--output={tmp_path / 'audit'}", *flags_of(spec))
    assert done.returncode == 0, done.stderr
    assert "12 shards computed, 0 reused, 0 retried, 0 quarantined" in done.stdout


def test_workers_share_the_cores_of_their_node(ray_cluster):
    """The cluster offers two CPUs."""
    import ray

    threads = [ray.get(ray.remote(threads_of_a_worker).remote(workers)) for workers in (1, 2, 3)]
    assert threads == [2, 1, 1]


def test_workers_of_this_machine_use_all_its_cores_and_import_ahead_of_their_actor():
    """However few cores Ray offers."""
    code = """
import ray, sys
from workflows.executors.ray.head import QUIET, RayHead
from workflows.executors.ray.worker import threads_of_a_worker
head = RayHead(1)
ray.init(address=head.address(), **QUIET)
print(ray.get(ray.remote(lambda: "workflows.executors.ray.worker" in sys.modules).remote()))
print(ray.get(ray.remote(threads_of_a_worker).remote(1)))
ray.shutdown()
head.stop()
head.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", str(os.cpu_count())], done.stderr


def test_an_address_at_which_no_cluster_is(tmp_path):
    done = cawa("127.0.0.1:9", "--classes=1", f"--output={tmp_path / 'audit'}")
    assert done.returncode == 2
    assert "cawa: RAY_ADDRESS='127.0.0.1:9' is not a running Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_input_leaves_no_ray(tmp_path, ray_folder):
    """Ray starts while input is checked; where it is refused, Ray goes."""
    command = [sys.executable, "-m", "workflows", "audit", "--classes=99", f"--output={tmp_path / 'audit'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "cawa: classes must be in 0..9 or names; got 99\n")
    assert not (tmp_path / "audit").exists()
    assert_gone(ray_folder)


def test_ray_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'long' * 30}")
    command = [sys.executable, "-m", "workflows", "audit", "--classes=1", f"--output={tmp_path / 'audit'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Ray cannot start on this machine" in done.stderr
    assert "107" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_driver_resumes(tmp_path, tiny_spec, undisturbed, ray_folder):
    """SIGKILL in the middle, then the same command: published shards are kept and the rows are the same."""
    folder = tmp_path / "audit"
    audit = ("audit", "--executor=ray", "--workers=2", "--no-report", f"--output={folder}")
    command = [sys.executable, "-m", "workflows", *audit, *flags_of(tiny_spec)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(Manifest.read(folder).receipts) < 4:
        time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert_gone(ray_folder)
    kept = {name: receipt.seconds for name, receipt in Manifest.read(folder).receipts.items()}
    assert len(kept) >= 4
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = Manifest.read(folder).receipts
    assert all(after[name].seconds == seconds for name, seconds in kept.items())
    compare(undisturbed, folder, tolerance=1e-4)
