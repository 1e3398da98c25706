"""Count what a piece of work asks of a GPU, without one: kernel launches, and waits of the host for the device.

The work runs on fake tensors that say they are on CUDA: shapes and devices are real, no value is computed. An operator
that gives a new tensor or writes one counts as one launch (a library may use several kernels for it); a copy
between host and device that is not asynchronous counts as a wait, as does reading a single value.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cawa_core.evaluators.base import Evaluator
from cawa_core.evaluators.preprocessing import by_colour
from cawa_core.generators.base import Generator
from cawa_core.masking.engine import MaskingEngine
from cawa_core.numerics.batch_size import BatchSize

Operator = Any
ALLOCATIONS = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
COPIES = ("_to_copy", "copy_")


@dataclasses.dataclass(frozen=True)
class Calls:
    """Calls that some work made to the device.

    Attributes:
        launches: operators that run on the device.
        waits: times that the host waited for the device.
        by_operator: launches of each operator.
    """

    launches: int
    waits: int
    by_operator: Counter[str]


class DeviceCalls(TorchDispatchMode):
    """Count launches and waits of the operators that run inside."""

    composite: ClassVar[str] = "CompositeImplicitAutograd"

    def __init__(self) -> None:
        super().__init__()
        self.by_operator: Counter[str] = Counter()
        self.waits = 0

    def __torch_dispatch__(
        self,
        function: Operator,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run one operator and count it; one that is made of others is taken apart."""
        del types
        kwargs = kwargs or {}
        if getattr(function, "namespace", "") != "aten":
            return function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if name == "_pin_memory":  # of host memory: no fake tensor knows how, and nothing waits
            return args[0]
        if torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), self.composite):
            with self:
                return function.decompose(*args, **kwargs)
        result = function(*args, **kwargs)
        if not function.is_view:
            self._count(
                name, [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)], kwargs
            )
        return result

    def _count(self, name: str, tensors: list[Tensor], kwargs: dict[str, Any]) -> None:
        devices = {tensor.device.type for tensor in tensors}
        if "cuda" not in devices or name in ALLOCATIONS:
            return
        if name in COPIES and len(devices) > 1:
            self.waits += not kwargs.get("non_blocking", False)
        else:
            self.waits += name in ("_local_scalar_dense", "nonzero")
            self.by_operator[name] += 1

    @property
    def calls(self) -> Calls:
        """The calls that were counted so far."""
        return Calls(self.by_operator.total(), self.waits, self.by_operator)


@contextlib.contextmanager
def fake_cuda() -> Iterator[None]:
    """Tensors made inside are fake and may be on ``cuda``; as NumPy arrays they are zeros."""

    def zeros(tensor: Tensor) -> np.ndarray:
        return np.zeros(tensor.shape)

    try:
        with FakeTensorMode(), mock.patch.object(FakeTensor, "numpy", zeros, create=True):
            yield
    finally:
        by_colour.cache_clear()  # later passes on a real GPU must not get fake tensors


def move_to_fake_cuda(module: nn.Module) -> None:
    """Replace the weights of a module by fake ones on CUDA; to be called inside :func:`fake_cuda`."""
    for part in module.modules():
        for values in (part._parameters, part._buffers):
            for name, tensor in values.items():
                if tensor is not None:
                    fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
                    is_parameter = isinstance(tensor, nn.Parameter)
                    values[name] = nn.Parameter(fake, requires_grad=False) if is_parameter else fake


def calls_of(work: Callable[[], object]) -> Calls:
    """Count the calls of some work; to be called inside :func:`fake_cuda`."""
    with DeviceCalls() as counted:
        work()
    return counted.calls


def masking_calls(
    generator: Generator, evaluator: Evaluator, *, latents: int, masks: int, batch: int, sites: Sequence[int]
) -> dict[int, Calls]:
    """Count the calls of exact masking at some sites: models are left with fake weights and cannot be used again."""
    with fake_cuda():
        for model in (generator, evaluator):
            move_to_fake_cuda(model)
        engine = MaskingEngine(generator, evaluator, BatchSize(batch))
        z = torch.empty(latents, generator.z_dim, device="cuda")
        calls = {}
        for site in sites:
            channels = generator.sites[site].channels
            wrapped = [(mask % channels,) for mask in range(masks)]  # narrow sites have fewer channels than masks
            calls[site] = calls_of(partial(engine.site_log_scores, z, 0, site, wrapped))
        return calls
