"""Executors by name: where shards run."""

from cawa_core.registry import Registry
from workflows.executors.base import Executor

EXECUTORS: Registry[Executor] = Registry("executor")
EXECUTORS.register("inline", "workflows.executors.inline:InlineExecutor")
EXECUTORS.register("ray", "workflows.executors.ray.executor:RayExecutor")
