"""Ray on this machine, in a separate process that ends with the driver.

Starting Ray means seconds of waiting for its services. In a separate process it starts while the driver still imports
PyTorch and checks its input, and stops while the driver aggregates. However the driver ends, its end of the pipe
closes, and that stops Ray.
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
"""Size of Ray's object store: only receipts and small objects pass through it."""
CORES = "cawa_cores"
"""Custom resource with the cores of this machine; Ray itself is told only as many CPUs as there are workers."""
MODULE = "workflows.executors.ray.head"
WITHOUT_WAITING = {
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "0",  # no dashboard is used
    "RAY_enable_worker_prestart": "1",
    "RAY_preload_python_modules": "workflows.executors.ray.preload",
}
"""Environment of the Ray process: workers start with it and import their modules while the driver imports its own."""

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


class RayHead:
    """Process that holds Ray; it starts at once, without waiting for Ray.

    Args:
        workers: number of workers that will run; 0: one per core.
    """

    def __init__(self, workers: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        cores = os.cpu_count() or 1
        threads = {"OMP_NUM_THREADS": str(max(1, cores // (workers or cores)))}  # for BLAS; Ray's default is 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(workers if workers < cores else 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=WITHOUT_WAITING | threads | os.environ,
            start_new_session=True,  # Ctrl-C reaches only the driver, which then stops this process in order
        )

    def address(self) -> str:
        """Wait until Ray listens and return its address.

        Raises:
            InputError: Ray could not be started.
        """
        assert self._process.stdout is not None
        address = self._process.stdout.readline().decode().strip()
        if not address:
            self.stop()
            self.wait()
            self._errors.seek(0)
            reason = last_line(self._errors.read().decode(errors="replace"))
            raise InputError(f"Ray cannot start on this machine: {reason}; use --executor inline to run without Ray")
        return address

    def stop(self) -> None:
        """Ask Ray to stop, without waiting."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        """Wait until Ray has ended, after :meth:`stop`."""
        self._process.wait()


_ahead: RayHead | None = None


def start_ahead(workers: int) -> None:
    """Start Ray ahead of the executor, unless ``RAY_ADDRESS`` names a cluster or Ray is already imported."""
    global _ahead
    if _ahead is None and "ray" not in sys.modules and not os.environ.get("RAY_ADDRESS"):
        _ahead = RayHead(workers)
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray itself does when it starts; it reads this on import


def take_ahead() -> RayHead | None:
    """Return the process that :func:`start_ahead` started; None on later calls."""
    global _ahead
    head = _ahead
    _ahead = None
    return head


def start_ray(cores: int = 0) -> None:
    """Start Ray on this machine, owned by this process.

    Args:
        cores: CPUs that Ray offers, which is also the number of processes it keeps ready; 0: all.
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
    except Exception:  # Ray allows its services 30 s, too little on a busy machine
        start_ray(cores)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
