"""How busy the device is, with what, and how often the host waits for it."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.device import seconds_on, synchronize

Interval = tuple[float, float]
Operator = Any
MICROSECONDS = 1e-6
LONGEST = 10


@dataclasses.dataclass(frozen=True)
class Profile:
    """The profiler's view of some work.

    Attributes:
        seconds: wall time under the profiler.
        busy: share of it in which a kernel ran on the GPU; on a CPU, in which an operator ran.
        kernels: number of kernels (on a CPU: operators).
        longest: the kernels (operators) that took longest in all: name, seconds, number.
        convolution_seconds: of all convolutions.
    """

    seconds: float
    busy: float
    kernels: int
    longest: tuple[tuple[str, float, int], ...]
    convolution_seconds: float


def profiled(device: torch.device, work: Callable[[], object]) -> Profile:
    """Run some work under the profiler; run it once before, so that nothing is set up meanwhile."""
    work()
    synchronize(device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as recorded:
        seconds = seconds_on(device, work)
    kind = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = [event for event in recorded.events() if event.device_type == kind and _is_work(event, kind)]
    took: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for event in events:
        took[event.name] += event.time_range.elapsed_us() if kind is DeviceType.CUDA else event.self_cpu_time_total
        counts[event.name] += 1
    busy = covered([(event.time_range.start, event.time_range.end) for event in events]) * MICROSECONDS
    convolutions = sum(
        event.device_time_total if kind is DeviceType.CUDA else event.cpu_time_total
        for event in recorded.events()
        if event.name == "aten::convolution"
    )
    longest = tuple((name, total * MICROSECONDS, counts[name]) for name, total in took.most_common(LONGEST))
    return Profile(seconds, busy / seconds, len(events), longest, convolutions * MICROSECONDS)


def _is_work(event: Any, kind: DeviceType) -> bool:  # noqa: ANN401
    """Whether an event is a kernel, or on a CPU an operator, rather than a mark of the profiler or the runtime."""
    return event.name.startswith("aten::") if kind is DeviceType.CPU else not event.is_user_annotation


def covered(intervals: Sequence[Interval]) -> float:
    """Length of the union of intervals."""
    total = 0.0
    end = float("-inf")
    for first, last in sorted(intervals):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def waits_of(work: Callable[[], object]) -> int:
    """How often the host waits for the GPU during some work, as PyTorch itself counts on CUDA."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message).lower() for warning in caught)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution as it was called: enough to call it again alone."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    channels_last: bool
    dtype: torch.dtype
    has_bias: bool
    arguments: tuple[Any, ...]

    def seconds(self, device: torch.device, repeats: int) -> float:
        """Time it on random numbers, several calls in a row, after some that warm up."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        x, weight = (
            torch.randn(shape, device=device).to(self.dtype).contiguous(memory_format=layout) for shape in self.shapes
        )
        transposed = self.arguments[3]
        width = self.shapes[1]
        bias = torch.zeros(width[1 if transposed else 0], device=device, dtype=self.dtype) if self.has_bias else None

        def calls() -> None:
            with torch.inference_mode():
                for _ in range(repeats):
                    torch.ops.aten.convolution(x, weight, bias, *self.arguments)

        calls()
        return seconds_on(device, calls) / repeats


class Convolutions(TorchDispatchMode):
    """Collect the convolutions that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Convolution] = Counter()

    def __torch_dispatch__(
        self,
        function: Operator,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run an operator; if it is a convolution, remember it."""
        del types
        if function.overloadpacket is torch.ops.aten.convolution:
            x, weight, bias, *arguments = args
            self.counts[_as_called(x, weight, bias, arguments)] += 1
        elif torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd"):
            with self:
                return function.decompose(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _as_called(x: Tensor, weight: Tensor, bias: Tensor | None, arguments: Sequence[Any]) -> Convolution:
    plain = tuple(tuple(value) if isinstance(value, list) else value for value in arguments)
    shapes = tuple(x.shape), tuple(weight.shape)
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return Convolution(shapes, channels_last, x.dtype, bias is not None, plain)


def seconds_alone(device: torch.device, work: Callable[[], object], repeats: int) -> float:
    """How long the convolutions of some work take when each runs alone, back to back with itself."""
    with Convolutions() as seen:
        work()
    return sum(count * convolution.seconds(device, repeats) for convolution, count in seen.counts.items())
