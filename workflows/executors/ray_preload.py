"""What a worker of this machine imports while the driver still imports the same, ahead of its actor."""

from workflows.quick_imports import quick_imports

with quick_imports():
    import workflows.executors.ray_worker  # noqa: F401
