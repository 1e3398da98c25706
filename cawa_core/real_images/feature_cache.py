"""Cache of real images' features on disk, keyed by everything that determines them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cawa_core.digests import digest_of_bytes, digest_of_data
from cawa_core.storage import write_atomically

Key = Mapping[str, str | int]
"""Everything that determines a computation's result, by name."""


class FeatureCache:
    """One safetensors file per key; processes may share the folder, because files are replaced atomically.

    Attributes:
        folder: folder of the files, created on first use. If it cannot be written to, nothing is cached, with one
            warning.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._has_warned = False

    def features(self, key: Key, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the tensors cached under a key, on the CPU; else call ``compute`` and cache its result.

        A file that is damaged, or was written under another key, is computed again and replaced.
        """
        tensors = self.kept(key)
        return self.keep(key, compute()) if tensors is None else tensors

    def kept(self, key: Key) -> dict[str, Tensor] | None:
        """Return the tensors cached under a key, on the CPU; None if there is no intact file."""
        return _read(self.path_of(key), key)

    def keep(self, key: Key, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cache tensors under a key; return them as :meth:`kept` will."""
        # Copy, because safetensors refuses tensors that share memory.
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in computed.items()}
        self._write(self.path_of(key), key, tensors)
        return tensors

    def path_of(self, key: Key) -> Path:
        """Return the file of a key."""
        return self.folder / f"{digest_of_data(dict(key))}.safetensors"

    def _write(self, path: Path, key: Key, tensors: dict[str, Tensor]) -> None:
        metadata = {"key": _text_of(key), "sha256": digest_of_bytes(save(tensors))}
        try:
            write_atomically(path, save(tensors, metadata=metadata))
        except OSError as error:
            if not self._has_warned:
                warnings.warn(f"features are not cached: {self.folder} cannot be written to: {error}", stacklevel=3)
            self._has_warned = True


def _text_of(key: Key) -> str:
    return json.dumps(dict(key), sort_keys=True)


def _read(path: Path, key: Key) -> dict[str, Tensor] | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    # The format itself has no checksum.
    is_intact = metadata == {"key": _text_of(key), "sha256": digest_of_bytes(save(tensors))}
    return tensors if is_intact else None
