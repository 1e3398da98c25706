"""Forward passes watched and changed by hooks, and single modules called again as they were called there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]
"""Module, positional and keyword arguments, output => another output, or None to keep it."""


class Reached(BaseException):
    """Ends a forward pass that has shown what it ran for; no Exception, lest the network handle it as a fault."""


@contextlib.contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Forward hooks that are gone afterwards, whatever happened; :class:`Reached` ends the block quietly."""
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module, hook in hooks]
    try:
        with contextlib.suppress(Reached):
            yield
    finally:
        for handle in handles:
            handle.remove()


@dataclasses.dataclass(frozen=True)
class Call:
    """How a module was called in a forward pass, without the feature map it was given.

    Attributes:
        module: what was called.
        args, kwargs: its arguments; None where the feature map was.
        key: position or keyword of the feature map.
        shape: of the feature map and of the output, ``[n, C, H, W]``.
        dtype, device: of the feature map.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: int | str
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def seen(cls, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> Call | None:
        """The call, if it turned a feature map into one of the same shape."""
        if not (isinstance(output, Tensor) and output.ndim == 4):
            return None
        given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        for key, value in given:
            if isinstance(value, Tensor) and value.shape == output.shape and value.is_floating_point():
                rest = tuple(None if position == key else one for position, one in enumerate(args))
                others = {name: None if name == key else one for name, one in kwargs.items()}
                return cls(module, rest, others, key, value.shape, value.dtype, value.device)
        return None

    @property
    def is_conditioned(self) -> bool:
        """Whether there are tensors beside the feature map."""
        return _holds_tensor((self.args, self.kwargs))

    def with_features(self, features: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments with another feature map under the same condition."""
        args = tuple(features if position == self.key else one for position, one in enumerate(self.args))
        return args, {name: features if name == self.key else one for name, one in self.kwargs.items()}

    def output(self, features: Tensor) -> Tensor:
        """What the module makes of another feature map ``[n, C, H, W]`` under the same condition."""
        args, kwargs = self.with_features(features.to(self.dtype))
        return self.module(*args, **kwargs)  # type: ignore[no-any-return]


def _holds_tensor(value: object) -> bool:
    if isinstance(value, dict):
        return _holds_tensor(tuple(value.values()))
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(_holds_tensor, value)))
