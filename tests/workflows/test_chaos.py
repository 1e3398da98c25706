"""A cluster whose machines disappear while an audit runs."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cawa_core.tables import Manifest
from tests.poisoned import MANY, POISONED_CLASS
from tests.workflows.conftest import SMALL, flags_of, small_audit
from tests.workflows.test_audit import compare_table
from workflows.executors.shard_queue import MAX_ERRORS

pytestmark = [pytest.mark.slow, pytest.mark.ray]

SPEC = dataclasses.replace(SMALL, metric_samples=MANY, masking_latents=16, control_latents=16)
LOST_NODE_IS_SEEN = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 2**27, "_system_config": LOST_NODE_IS_SEEN},
    )
    yield cluster
    cluster.shutdown()


def workers() -> list[int]:
    """Processes that compute a shard at this moment: Ray names them after the method they are in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::ShardWorker.execute"):
                found.append(int(path.parent.name))
    return found


def until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_machines_come_and_go_and_one_shard_is_poison(cluster, tmp_path):
    """A killed worker, a node lost without grace, a new node, a shard that always raises: exit 3, the rest is right."""
    folder = tmp_path / "audit"
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=2**27) for _ in range(3)]
    options = dataclasses.replace(SPEC, generator="tests.poisoned:generator")
    command = [sys.executable, "-m", "workflows", "audit", f"--output={folder}", "--executor=ray", "--no-report"]
    process = subprocess.Popen(
        [*command, *flags_of(options)],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: (len(Manifest.read(folder).receipts) >= 4 and workers()) or process.poll() is not None)
    os.kill(workers()[0], signal.SIGKILL)
    finished = len(Manifest.read(folder).receipts)
    until(lambda: len(Manifest.read(folder).receipts) >= finished + 3 or process.poll() is not None)
    cluster.remove_node(nodes[0], allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=2**27)
    printed, complained = process.communicate(timeout=400)
    assert process.returncode == 3, complained

    manifest = Manifest.read(folder)
    (poisoned,) = manifest.quarantined
    assert poisoned == f"class_metrics-c{POISONED_CLASS:04d}-{POISONED_CLASS:04d}"
    assert "Traceback" in manifest.quarantined[poisoned]
    assert "RuntimeError: poison" in manifest.quarantined[poisoned]
    computed, retried = (int(re.search(rf"(\d+) (?:shards )?{word}", printed)[1]) for word in ("computed", "retried"))
    stages = [receipt for receipt in manifest.receipts.values() if receipt.stage in SPEC.stages]
    assert computed == len(stages)
    assert 1 <= retried - (MAX_ERRORS - 1) <= 2, complained  # the killed worker's and the lost node's

    undisturbed = tmp_path / "undisturbed"
    small_audit(undisturbed, SPEC)
    for name in ("awareness", "masking", "masking_controls", "gallery", "class_metrics"):
        expected, found = Manifest.read(undisturbed).table(name), manifest.table(name)
        if name == "class_metrics":
            expected = expected[expected.class_id != POISONED_CLASS].reset_index(drop=True)
        compare_table(name, expected, found, tolerance=1e-4)
