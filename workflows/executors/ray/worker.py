"""The actor that runs on a node: it loads the models and computes the shards it is given."""

from __future__ import annotations

import os
import platform

import ray
import torch

from cawa_core.errors import InputError
from cawa_core.storage import open_storage
from cawa_core.tables import Receipt
from workflows.executors.ray.head import CORES
from workflows.folders.folder import require_same
from workflows.lab.trial import require_pass
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions
from workflows.planning.shards import Shard
from workflows.running.execution import execute
from workflows.running.job import Job, tried_by_driver


class ShardWorker:
    """Actor that loads the models once, then computes shards."""

    job: Job

    def __init__(self, spec: AuditSpec, options: RunOptions, folder: str, workers: int) -> None:
        torch.set_num_threads(threads_of_a_worker(workers))
        self.spec = spec
        self.options = options
        self.storage = open_storage(folder, options.storage_patience)

    def ready(self) -> int:
        """Load the models and return the process ID of the worker.

        Raises:
            InputError: this node has other weights, other real images or another audit folder than the driver, or the
                models do not fit together.
        """
        self.job = Job.open(self.spec, self.options)
        try:
            require_same(self.storage, self.job.identity)
        except InputError as error:
            raise InputError(
                f"on {platform.node()}, {error}; all nodes need the driver's files and folder: a shared path, or s3://"
            ) from None
        if not tried_by_driver(self.options):
            require_pass(self.job.lab)
        return os.getpid()

    def execute(self, shard: Shard) -> Receipt:
        """Compute and publish one shard."""
        return execute(self.job, self.storage, shard)


def threads_of_a_worker(workers: int) -> int:
    """Return a worker's share of the cores of its node.

    Args:
        workers: number of workers in the whole cluster.
    """
    node_id = ray.get_runtime_context().get_node_id()
    resources: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id), {})
    cores = resources.get(CORES) or resources.get("CPU") or os.cpu_count() or 1
    on_node = min(workers, resources.get("GPU") or resources.get("CPU") or cores)
    return max(1, int(cores // max(1, on_node)))
