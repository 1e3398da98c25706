"""The IDX format of MNIST-like data sets."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes into an array with the shape in its header.

    Raises:
        ValueError: the header states another type, or another length than the file has.
    """
    content = gzip.decompress(path.read_bytes())
    zero, kind, n_dims = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind != UNSIGNED_BYTE:
        raise ValueError(f"path must be an IDX file of unsigned bytes; {path} starts with {content[:4].hex()}")
    shape = struct.unpack(f">{n_dims}I", content[4 : 4 + 4 * n_dims])
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_dims)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path} announces {np.prod(shape)} values and holds {values.size}; fetch it again")
    return values.reshape(shape).copy()
