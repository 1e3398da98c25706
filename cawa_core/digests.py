"""SHA-256 of files, bytes and plain data."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def digest_of_bytes(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 of named tensors: names, shapes, types and values, in the order of the names."""
    import torch  # takes seconds, and few callers need it

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def digest_of_source(function: Callable[..., object]) -> str:
    """Return the hexadecimal SHA-256 of a function's source, or of its class's; of nothing if it has no source.

    The functions that it calls are not part of it.
    """
    described = inspect.unwrap(function)
    try:
        source = inspect.getsource(described if inspect.isroutine(described) else type(described))
    except (OSError, TypeError):  # compiled, or typed into an interpreter
        source = ""
    return digest_of_bytes(source.encode())


def digest_of_data(data: Any) -> str:  # noqa: ANN401
    """Return the hexadecimal SHA-256 of JSON-serialisable data, independent of the order of its keys."""
    return digest_of_bytes(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())
