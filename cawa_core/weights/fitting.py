"""Loading of tensors into modules that they fit exactly, checked by form before any value is copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from cawa_core.errors import InputError

NOT_NEGATIVE = ("*running_var", "*running_vars", "*stored_var", "*accumulation_counter")
"""Tensors whose values are variances or counts."""


def load_strictly(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    ignorable: Sequence[str] = (),
    assign: bool = False,
) -> None:
    """Copy tensors into a module's parameters and buffers of the same names: all of them or, on an error, none.

    Floating tensors are converted to the module's dtype; others must have it.

    Args:
        module: module to load into.
        tensors: values by name.
        source: source of the tensors, for errors.
        ignorable: patterns (``*.num_batches_tracked``) of names that may be missing or left over.
        assign: whether to use the tensors themselves instead of copies, for a module built on the ``meta`` device.

    Raises:
        InputError: a tensor is missing, left over, of another shape or type, not finite, or a negative variance;
            the module is unchanged.
    """
    require_fit(module, tensors, source, ignorable)
    expected = module.state_dict()
    faults = value_faults(tensors, expected)
    _require_none(faults, module, source)
    # Ignorable names that are missing keep the module's values, so that the load can be strict.
    converted = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items() if name in expected}
    module.load_state_dict({**expected, **converted}, strict=True, assign=assign)


def require_fit(module: nn.Module, tensors: Mapping[str, Tensor], source: str, ignorable: Sequence[str] = ()) -> None:
    """Check names, shapes and types of tensors against those of a module, without reading a value.

    Args:
        module: module to fit, which may be on the ``meta`` device.
        tensors: tensors by name.
        source: source of the tensors, for errors.
        ignorable: patterns of names that may be missing or left over.

    Raises:
        InputError: a tensor is missing, left over, or of another shape or type.
    """
    _require_none(_misfits(module.state_dict(), tensors, ignorable), module, source)


def value_faults(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor] | None = None) -> list[str]:
    """Describe every tensor with values that are not finite, or negative where they must not be.

    Args:
        tensors: values by name.
        expected: tensors whose types they are converted to, which may overflow; None to take them as they are.
    """
    faults = []
    for name, tensor in tensors.items():
        dtype = expected[name].dtype if expected and name in expected else tensor.dtype
        if not torch.isfinite(tensor.to(dtype)).all():
            faults.append(f"tensor {name!r} holds values that are not finite in {dtype}")
        elif any(fnmatchcase(name, pattern) for pattern in NOT_NEGATIVE) and (tensor < 0).any():
            faults.append(f"tensor {name!r} must be at least 0, as a variance or count; got {tensor.min().item():g}")
    return faults


def _require_none(faults: Sequence[str], module: nn.Module, source: str) -> None:
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(
            f"{source} does not fit {type(module).__name__}: {faults[0]}{more}; "
            f"pass undamaged --weights of exactly this model"
        )


def _misfits(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], ignorable: Sequence[str]) -> list[str]:
    """Describe every missing or extra tensor and every wrong shape or type."""

    def is_ignorable(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in ignorable)

    missing = [
        f"tensor {name!r} {list(expected[name].shape)} is missing"
        for name in expected
        if name not in tensors and not is_ignorable(name)
    ]
    extra = [
        f"tensor {name!r} {list(tensors[name].shape)} has no place in the model"
        for name in tensors
        if name not in expected and not is_ignorable(name)
    ]
    common = [name for name in expected if name in tensors]
    return missing + extra + [fault for name in common for fault in _form_faults(name, expected[name], tensors[name])]


def _form_faults(name: str, expected: Tensor, tensor: Tensor) -> list[str]:
    """Describe a wrong shape or type; empty if both are right."""
    if expected.shape != tensor.shape:
        return [f"tensor {name!r} must have the shape {list(expected.shape)}, got {list(tensor.shape)}"]
    both_floating = expected.is_floating_point() and tensor.is_floating_point()
    if expected.dtype != tensor.dtype and not both_floating:
        return [f"tensor {name!r} must be {expected.dtype}, got {tensor.dtype}"]
    return []
