"""Loading of tensors from files, checked whole, without running code or copying values that nobody uses."""

from __future__ import annotations

import dataclasses
import json
import mmap
import shlex
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from cawa_core.digests import digest_of_data, digest_of_file
from cawa_core.errors import InputError
from cawa_core.weights.archive import SIGNATURE, Archive
from cawa_core.weights.legacy import read_legacy
from cawa_core.weights.pickled_tensors import PickledContent, Storage, StoredTensor
from cawa_core.weights.record import was_fetched
from cawa_core.weights.selection import SHOWN_LETTERS, SelectionError, kind, select, shown
from cawa_core.weights.unpickling import PickleError

SAFETENSORS = ".safetensors"
MAX_NAME = 300
"""Letters of the longest name of a tensor."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Tensors of a file.

    Attributes:
        tensors: values by name; they may be backed by the file.
        key: key of the tensors among several sets, with dots between levels; empty if the file holds one set.
        metadata: texts that a ``.safetensors`` file holds beside its tensors.
    """

    tensors: dict[str, Tensor]
    key: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def identity(self, path: Path) -> str:
        """Return the SHA-256 of the file, or, if it holds several sets of tensors, of that and the key."""
        digest = digest_of_file(path)
        return digest_of_data({"file": digest, "key": self.key}) if self.key else digest

    def describe_key(self, path: Path) -> str:
        """Say which of several sets of tensors was taken; empty if the file holds one."""
        return f"weights {self.key} of {path.name}" if self.key else ""


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Load the tensors of a file by name, see :func:`read_checkpoint`.

    Raises:
        InputError: see :func:`read_checkpoint`.
    """
    return read_checkpoint(path).tensors


def read_checkpoint(path: Path, key: str = "") -> Checkpoint:
    """Load the tensors of a ``.safetensors`` file or a PyTorch checkpoint, by name, on the CPU.

    A checkpoint must map names to tensors, at the top level or under a key; of several such maps, the one averaged
    over training steps is taken (``G_ema``), else the only one that is not a discriminator's. Nothing in the file is
    run. Before a value is used, the sizes of all records, the checksums of those in use, and the shapes and strides
    of the tensors are compared; a ``.safetensors`` file and checkpoints before PyTorch 1.6 have no checksums. Tensors
    may be backed by the file, so copy those that must outlive it.

    Args:
        path: the file.
        key: key of the weights to take; empty to choose as above.

    Raises:
        InputError: the file cannot be read, is damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"weights: {path} is not a file; pass another --weights PATH")
    try:
        return _read_safetensors(path) if _is_safetensors(path) else _read_pickled(path, key)
    except InputError:
        raise
    except SelectionError as error:
        raise InputError(f"{path} must map names to tensors; {error}: {_conversion(path, error.keys)}") from None
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; fix that, or give --weights PATH") from None
    except Exception as error:  # readers of formats can raise anything when given arbitrary bytes
        raise InputError(f"{path} {_damage(path, error)}") from None


def _is_safetensors(path: Path) -> bool:
    """Return whether a file has the ending of the format, or begins like one: eight bytes, then JSON."""
    if path.suffix.lower() == SAFETENSORS:
        return True
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Checkpoint:
    tensors = load_file(path)
    if not tensors:
        raise SelectionError("it is empty")
    _require_short_names(path, tensors)
    with safe_open(path, framework="pt") as file:
        return Checkpoint(tensors, metadata=file.metadata() or {})


def _read_pickled(path: Path, key: str) -> Checkpoint:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as content:
        archive = Archive(file) if content[: len(SIGNATURE)] == SIGNATURE else None
        pickled, starts = archive.read() if archive else read_legacy(content)
        _require_harmless(path, pickled)
        stored, chosen = select(pickled.value, key)
        tensors = _require_tensors(path, stored)
        if not starts:
            raise PickleError("a pickle that torch.save did not write")
        if archive:
            archive.check({tensor.storage.key: tensor.storage for tensor in tensors.values()}.values())
    buffers = _Buffers(path, starts)
    return Checkpoint({name: buffers.tensor(tensor) for name, tensor in tensors.items()}, chosen)


class _Buffers:
    """Values of storages, mapped from a file that is not read before they are used.

    Args:
        path: the file.
        starts: where in the file each storage begins, in bytes.
    """

    def __init__(self, path: Path, starts: Mapping[str, int]) -> None:
        with path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._starts = starts
        self._copies: dict[str, bytearray] = {}

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Return a tensor, which keeps the file mapped."""
        if not stored.count:
            return torch.empty(stored.shape, dtype=stored.dtype)
        buffer, start = self._bytes_of(stored.storage, stored.dtype.itemsize)
        values = torch.frombuffer(
            buffer, dtype=stored.dtype, count=stored.storage.n_bytes // stored.dtype.itemsize, offset=start
        )
        return values.as_strided(stored.shape, stored.strides, stored.offset)

    def _bytes_of(self, storage: Storage, alignment: int) -> tuple[mmap.mmap | bytearray, int]:
        """Return a storage's bytes, and where they begin; they are copied unless they begin at a multiple."""
        start = self._starts[storage.key]
        if start % alignment == 0:
            return self._content, start
        if storage.key not in self._copies:
            self._copies[storage.key] = bytearray(memoryview(self._content)[start : start + storage.n_bytes])
        return self._copies[storage.key], 0


def _require_harmless(path: Path, pickled: PickledContent) -> None:
    if not pickled.foreign:
        return
    try:
        _, key = select(pickled.value)
    except SelectionError:
        key = ""
    raise InputError(
        f"{path} holds more than tensors ({pickled.foreign[0][:SHOWN_LETTERS]}) and was refused, because reading it "
        f"could run code; if you trust it, save its weights alone: {_unsafe_conversion(path, key)}"
    )


def _require_tensors(path: Path, stored: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    """Check that a map holds nothing but dense tensors that their storages can hold."""
    if not stored:
        raise SelectionError("it is empty")
    tensors: dict[str, StoredTensor] = {}
    for name, value in stored.items():
        if not isinstance(name, str) or not isinstance(value, StoredTensor):
            raise InputError(
                f"{path} must map names to dense tensors; {shown(name)} is {kind(value)}: "
                f"save only the weights, torch.save(module.state_dict(), …)"
            )
        if fault := value.fault():
            raise InputError(f"{path}: tensor {shown(name)} {fault}, or pass another --weights PATH")
        tensors[name] = value
    _require_short_names(path, tensors)
    return tensors


def _require_short_names(path: Path, names: Iterable[str]) -> None:
    for name in names:
        if len(name) > MAX_NAME:
            raise InputError(f"{path}: names of tensors must have at most {MAX_NAME} letters; got {shown(name)}")


def _damage(path: Path, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][: 2 * SHOWN_LETTERS]
    if isinstance(error, struct.error):
        reason = "it ends in the middle of a record"
    again = "remove it to have it fetched again" if was_fetched(path) else "copy or save it again"
    return f"is truncated, damaged or not a checkpoint ({reason}); {again}, or pass another --weights PATH"


def _conversion(path: Path, keys: tuple[str, ...]) -> str:
    """Say how to get a file with only the weights that are wanted."""
    if not keys:
        return "save only the weights, torch.save(module.state_dict(), …)"
    key = shlex.quote(keys[0][:SHOWN_LETTERS])
    old = shlex.quote(str(path))
    return f"write the right ones to a file, cawa convert {old} {path.stem}-weights{SAFETENSORS} --key {key}"


def _unsafe_conversion(path: Path, key: str) -> str:
    """Return the command that reads a file with code in it, and saves only its weights; names are quoted."""
    keys = "".join(f"[{json.dumps(part)}]" for part in key.split(".")) if len(key) in range(1, SHOWN_LETTERS) else ""
    old, new = (json.dumps(str(file)) for file in (path, path.with_name(f"{path.stem}-weights.pth")))
    code = (
        f'import torch; w = torch.load({old}, map_location="cpu", weights_only=False){keys}; '
        f"torch.save({{k: v for k, v in w.items() if torch.is_tensor(v)}}, {new})"
    )
    return f"python -c {shlex.quote(code)}"
