"""Loading of tensors from files without running code, and into modules that they fit exactly."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cawa_core.errors import InputError

NESTING_KEY = "state_dict"
"""Key under which training loops save the weights, among counters and optimiser state."""


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Load the tensors of a ``.safetensors`` file or a PyTorch checkpoint, by name, on the CPU.

    A checkpoint must map names to tensors, at the top level or under ``state_dict`` if no other key holds any.
    Nothing in the file is run. Tensors may be backed by the file, so copy those that must outlive it.

    Raises:
        InputError: the file cannot be read, is damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"weights: {path} is not a file; pass another --weights PATH")
    tensors = _unwrap(path, _content(path))
    unsupported = [name for name, value in tensors.items() if not isinstance(name, str) or not _is_plain(value)]
    if unsupported:
        raise InputError(
            f"{path} must map names to dense tensors; {unsupported[0]!r} is {_kind(tensors[unsupported[0]])}: "
            f"save only the weights, torch.save(module.state_dict(), …)"
        )
    if not tensors:
        raise InputError(f"{path} must map names to tensors; it is empty: pass another --weights PATH")
    return tensors


def _content(path: Path) -> Any:  # noqa: ANN401
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; fix that, or give --weights PATH") from None
    except Exception as error:  # an unpickler can raise anything when given arbitrary bytes
        raise InputError(f"{path} {_refusal(error)}") from None


def _refusal(error: Exception) -> str:
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:
        return (
            f"holds more than tensors ({code[1]}) and was refused, because reading it could run code; "
            f"if you trust it, convert it to .safetensors, or pass another --weights PATH"
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
    return (
        f"is truncated, damaged or not a checkpoint ({reason}); "
        f"remove it to have it fetched again, or pass another --weights PATH"
    )


def _unwrap(path: Path, content: Any) -> dict[Any, Any]:  # noqa: ANN401
    """Return the map of names to tensors, which may be nested under ``state_dict``."""
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path} must map names to tensors; it holds {_kind(content)}: "
            f"save only the weights, torch.save(module.state_dict(), …)"
        )
    holders = [key for key, value in content.items() if isinstance(value, Tensor) or _holds_tensors(value)]
    if holders == [NESTING_KEY] and isinstance(content[NESTING_KEY], Mapping):
        return dict(content[NESTING_KEY])
    nested = [key for key in holders if not isinstance(content[key], Tensor)]
    if nested:
        names = ", ".join(map(repr, nested))
        raise InputError(
            f"{path} must map names to tensors; it holds them one level down, under {names}: save only "
            f"the right ones, torch.save(torch.load(…)[{nested[0]!r}], …)"
        )
    return dict(content)


def _holds_tensors(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def _is_plain(value: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _kind(value: Any) -> str:  # noqa: ANN401
    return f"a {value.layout} tensor on {value.device}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


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
        InputError: a tensor is missing, left over, of another shape or type, or not finite; the module is
            unchanged.
    """
    expected = module.state_dict()
    faults = _misfits(expected, tensors, ignorable) or _non_finite_values(expected, tensors)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(
            f"{source} does not fit {type(module).__name__}: {faults[0]}{more}; "
            f"pass undamaged --weights of exactly this model"
        )
    # Ignorable names that are missing keep the module's values, so that the load can be strict.
    converted = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items() if name in expected}
    module.load_state_dict({**expected, **converted}, strict=True, assign=assign)


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


def _non_finite_values(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Describe every tensor with non-finite values after conversion, which may overflow."""
    faults = []
    for name, tensor in tensors.items():
        dtype = expected[name].dtype if name in expected else tensor.dtype
        if not torch.isfinite(tensor.to(dtype)).all():
            faults.append(f"tensor {name!r} holds values that are not finite in {dtype}")
    return faults
