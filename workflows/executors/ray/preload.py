"""Modules that a worker process imports ahead of its actor, while the driver still imports its own."""

from workflows.commands.quick_imports import quick_imports

with quick_imports():
    import workflows.executors.ray.worker  # noqa: F401
