"""Tensors from files without running code, and into a module only if they fit it exactly."""

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
"""Training loops save the weights under this key, among counters and optimiser state."""


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a PyTorch checkpoint, by name, on the CPU.

    A checkpoint must map names to tensors, at the top or under ``state_dict`` when no other key holds any.
    Nothing in the file is run. Tensors may be backed by the file: copy what is to outlive it.

    Raises:
        InputError: the file cannot be read, is damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"weights {path} must be a file, and it is none; give --weights another PATH")
    tensors = _unwrapped(path, _content(path))
    odd = [name for name, value in tensors.items() if not isinstance(name, str) or not _is_plain(value)]
    if odd:
        raise InputError(
            f"{path} must map names to dense tensors; {odd[0]!r} is {_kind(tensors[odd[0]])}: "
            f"save the weights alone, torch.save(module.state_dict(), …)"
        )
    if not tensors:
        raise InputError(f"{path} must map names to tensors; it is empty: give --weights another PATH")
    return tensors


def _content(path: Path) -> Any:  # noqa: ANN401
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; mend that, or give --weights PATH") from None
    except Exception as error:  # an unpickler fed with arbitrary bytes raises anything
        raise InputError(f"{path} {_refusal(error)}") from None


def _refusal(error: Exception) -> str:
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:
        return (
            f"holds more than tensors ({code[1]}) and was refused, since reading that could run code; "
            f"convert it to .safetensors where you trust it, or give --weights another PATH"
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
    return (
        f"is truncated, damaged or no checkpoint ({reason}); "
        f"remove it to have it fetched again, or give --weights another PATH"
    )


def _unwrapped(path: Path, content: Any) -> dict[Any, Any]:  # noqa: ANN401
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path} must map names to tensors; it holds {_kind(content)}: "
            f"save the weights alone, torch.save(module.state_dict(), …)"
        )
    holders = [key for key, value in content.items() if isinstance(value, Tensor) or _holds_tensors(value)]
    if holders == [NESTING_KEY] and isinstance(content[NESTING_KEY], Mapping):
        return dict(content[NESTING_KEY])
    nested = [key for key in holders if not isinstance(content[key], Tensor)]
    if nested:
        names = ", ".join(map(repr, nested))
        raise InputError(
            f"{path} must map names to tensors; it holds them one level down, under {names}: save the ones "
            f"that are meant alone, torch.save(torch.load(…)[{nested[0]!r}], …)"
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
    """Copy tensors into a module's parameters and buffers of the same names; all of them, or none.

    Floating tensors are converted to the module's dtype; others must have it.

    Args:
        module: what to load into.
        tensors: name => values.
        source: where they come from, for errors.
        ignorable: patterns (``*.num_batches_tracked``) of names that may be missing or left over.
        assign: take the tensors themselves instead of copies, for a module built on the ``meta`` device.

    Raises:
        InputError: a tensor is missing, left over, of another shape or type, or not finite; the module is
            then as before.
    """
    expected = module.state_dict()
    faults = _misfits(expected, tensors, ignorable) or _not_finite(expected, tensors)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(
            f"{source} does not fit {type(module).__name__}: {faults[0]}{more}; "
            f"give --weights the undamaged weights of this very model"
        )
    # Allowed gaps keep the module's own values: the strict load then still vouches for every name.
    given = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items() if name in expected}
    module.load_state_dict({**expected, **given}, strict=True, assign=assign)


def _misfits(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], ignorable: Sequence[str]) -> list[str]:
    def may_differ(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in ignorable)

    missing = [
        f"tensor {name!r} {list(expected[name].shape)} is missing"
        for name in expected
        if name not in tensors and not may_differ(name)
    ]
    extra = [
        f"tensor {name!r} {list(tensors[name].shape)} has no place in the model"
        for name in tensors
        if name not in expected and not may_differ(name)
    ]
    common = [name for name in expected if name in tensors]
    return missing + extra + [fault for name in common for fault in _misshapen(name, expected[name], tensors[name])]


def _misshapen(name: str, own: Tensor, given: Tensor) -> list[str]:
    if own.shape != given.shape:
        return [f"tensor {name!r} must have the shape {list(own.shape)}, got {list(given.shape)}"]
    both_floating = own.is_floating_point() and given.is_floating_point()
    if own.dtype != given.dtype and not both_floating:
        return [f"tensor {name!r} must be {own.dtype}, got {given.dtype}"]
    return []


def _not_finite(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Looked for after conversion, which may overflow."""
    faults = []
    for name, tensor in tensors.items():
        dtype = expected[name].dtype if name in expected else tensor.dtype
        if not torch.isfinite(tensor.to(dtype)).all():
            faults.append(f"tensor {name!r} holds values that are not finite in {dtype}")
    return faults
