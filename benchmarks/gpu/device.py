"""The device that is measured: its clock, its memory, what it is."""

from __future__ import annotations

import contextlib
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from cawa_core.evaluators.base import Evaluator

GIGABYTE = 1e9


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_on(device: torch.device, work: Callable[[], object]) -> float:
    """Time one call, until the device has done its work."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def free_gigabytes(device: torch.device) -> float:
    """Memory that is not in use: of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / GIGABYTE
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    free = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)
    return float("inf") if free is None else free * 1024 / GIGABYTE


class PeakMemory:
    """Largest memory of tensors on a GPU while the context is open; on a CPU, of the process since it began."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.gigabytes = float("nan")

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.gigabytes = torch.cuda.max_memory_allocated(self._device) / GIGABYTE
        else:
            self.gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGABYTE


@contextlib.contextmanager
def memory_for(device: torch.device, evaluator: Evaluator, images: int, gigabytes: float) -> Iterator[None]:
    """Leave too little memory for large batches.

    Args:
        device: of the models.
        evaluator: of a CPU, where no allocator has a cap, it raises in its stead for more than ``images``.
        images: that a pass may have on a CPU.
        gigabytes: that all tensors on a GPU may take.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(gigabytes * GIGABYTE / total, device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        return
    whole = evaluator.log_probabilities

    def limited(batch: Tensor) -> Tensor:
        if len(batch) > images:
            raise torch.OutOfMemoryError(f"{len(batch)} images, with memory for {images}")
        return whole(batch)

    with mock.patch.object(evaluator, "log_probabilities", limited):
        yield


def describe(device: torch.device) -> dict[str, str | int | float]:
    """Card, driver and versions, or what CPU it is."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    facts: dict[str, str | int | float] = {
        "device": str(device),
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "card": properties.name,
            "memory_gb": round(properties.total_memory / GIGABYTE, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "driver": driver_version(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
    return facts


def driver_version() -> str:
    """Version of NVIDIA's kernel driver, or ``unknown``."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "unknown"
    return next((word for word in first.split() if word.count(".") >= 1 and word[0].isdigit()), "unknown")
