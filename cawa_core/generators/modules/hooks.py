"""Hooks that observe or change a forward pass, and replay of a single module's call."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]
"""Function of module, positional and keyword arguments, and output; returns another output, or None to keep it."""


class Reached(BaseException):
    """Ends a forward pass early; it is not an Exception, so that the network's code does not catch it."""


@contextlib.contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Register forward hooks for the block and remove them afterwards; :class:`Reached` ends the block silently."""
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module, hook in hooks]
    try:
        with contextlib.suppress(Reached):
            yield
    finally:
        for handle in handles:
            handle.remove()


@dataclasses.dataclass(frozen=True)
class Call:
    """Call of a module in a forward pass, without its input feature map.

    Attributes:
        module: the called module.
        args, kwargs: arguments of the call, with None in place of the feature map.
        key: position or keyword of the feature map.
        shape: shape of the feature map and of the output, ``[n, C, H, W]``.
        dtype, device: type and device of the feature map.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: int | str
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def record(cls, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> Call | None:
        """Record a call that maps a feature map to one of the same shape; return None for any other call."""
        if not (isinstance(output, Tensor) and output.ndim == 4):
            return None
        arguments: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        for key, value in arguments:
            if isinstance(value, Tensor) and value.shape == output.shape and value.is_floating_point():
                other_args = tuple(None if position == key else item for position, item in enumerate(args))
                other_kwargs = {name: None if name == key else item for name, item in kwargs.items()}
                return cls(module, other_args, other_kwargs, key, value.shape, value.dtype, value.device)
        return None

    @property
    def is_conditioned(self) -> bool:
        """Whether the arguments hold tensors besides the feature map."""
        return _holds_tensor((self.args, self.kwargs))

    def with_features(self, features: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with another feature map and the same condition."""
        args = tuple(features if position == self.key else item for position, item in enumerate(self.args))
        return args, {name: features if name == self.key else item for name, item in self.kwargs.items()}

    def output(self, features: Tensor) -> Tensor:
        """Call the module with another feature map ``[n, C, H, W]`` and the same condition."""
        args, kwargs = self.with_features(features.to(self.dtype))
        return self.module(*args, **kwargs)  # type: ignore[no-any-return]


def _holds_tensor(value: object) -> bool:
    if isinstance(value, dict):
        return _holds_tensor(tuple(value.values()))
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(_holds_tensor, value)))
