"""Ray on this machine, in a process of its own that ends with the one that asked for it.

Starting Ray takes seconds of waiting for its services. In a process of its own it starts while the driver still imports
PyTorch and checks its input, and stops while the driver aggregates. However the driver ends, its end of the pipe
closes, and Ray with it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from typing import Any

from cawa_core.errors import InputError, last_line

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
OBJECT_STORE_BYTES = 128 * 2**20
"""Enough for receipts; nothing large travels."""
CORES = "cawa_cores"
"""Resource of a Ray that was started here: how many cores there are, of which it offers no more than it has workers."""
MODULE = "workflows.executors.ray_head"
WITHOUT_WAITING = {
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "0",  # nobody looks at it
    "RAY_enable_worker_prestart": "1",
    "RAY_preload_python_modules": "workflows.executors.ray_preload",
}
"""Ray's settings for its own process: its workers start with it, and import what the driver is still importing, too."""

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


class RayHead:
    """The process that holds Ray; starts at once, without waiting.

    Args:
        workers: how many are to run; 0: one a core.
    """

    def __init__(self, workers: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        cores = os.cpu_count() or 1
        threads = {"OMP_NUM_THREADS": str(max(1, cores // (workers or cores)))}  # of BLAS; Ray's own choice is 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(workers if workers < cores else 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=WITHOUT_WAITING | threads | os.environ,
            start_new_session=True,  # Ctrl-C is for the driver, which then stops this in good order
        )

    def address(self) -> str:
        """Where Ray listens, as soon as it does.

        Raises:
            InputError: it could not be started.
        """
        assert self._process.stdout is not None
        address = self._process.stdout.readline().decode().strip()
        if not address:
            self.stop()
            self.wait()
            self._errors.seek(0)
            reason = last_line(self._errors.read().decode(errors="replace"))
            raise InputError(f"Ray cannot start on this machine: {reason}; --executor inline does without it")
        return address

    def stop(self) -> None:
        """Let Ray end, without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        """Until Ray is gone, after :meth:`stop`."""
        self._process.wait()


_ahead: RayHead | None = None


def start_ahead(workers: int) -> None:
    """Start Ray for the executor that comes later, unless a cluster is to be joined or Ray is imported already."""
    global _ahead
    if _ahead is None and "ray" not in sys.modules and not os.environ.get("RAY_ADDRESS"):
        _ahead = RayHead(workers)
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray itself does where it starts; it asks at its import


def taken() -> RayHead | None:
    """What was started ahead, once."""
    global _ahead
    head, _ahead = _ahead, None
    return head


def start_ray(cores: int = 0) -> None:
    """Start Ray on this machine, as a part of this process.

    Args:
        cores: how many it offers, and so how many processes it keeps ready; 0: all.
    """
    import ray

    ray.init(
        address="local",
        num_cpus=cores or None,
        resources={CORES: os.cpu_count() or 1},
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        **QUIET,
    )


def main() -> None:
    """Start Ray, print its address, and stop it when standard input ends."""
    import ray

    cores = int(sys.argv[1])
    try:
        start_ray(cores)
    except Exception:  # it gives its own services 30 s, too few on a machine that is busy
        start_ray(cores)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
