"""PyTorch's checkpoints before version 1.6: five pickles, then the values of every storage; there is no checksum."""

from __future__ import annotations

import mmap
import struct

from cawa_core.weights.pickled_tensors import PickledContent, read_content
from cawa_core.weights.unpickling import MAX_BYTES, PickleError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
COUNT = struct.Struct("<q")


def read_legacy(content: mmap.mmap) -> tuple[PickledContent, dict[str, int]]:
    """Return the content of the main pickle, and where in the file the values of each storage begin, in bytes.

    Raises:
        PickleError: the file is damaged, not whole, or not such a checkpoint.
    """
    magic = _pickle_at(content, 0)
    if magic.value != MAGIC_NUMBER:
        return magic, {}
    version = _pickle_at(content, magic.size)
    system = _pickle_at(content, magic.size + version.size)
    if not isinstance(system.value, dict) or system.value.get("little_endian") is not True:
        raise PickleError("its numbers begin with the highest byte: save it on a machine of the other byte order")
    position = magic.size + version.size + system.size
    main = _pickle_at(content, position)
    keys = _pickle_at(content, position + main.size)
    return main, _starts(content, position + main.size + keys.size, main, keys)


def _pickle_at(content: mmap.mmap, position: int) -> PickledContent:
    return read_content(content[position : position + MAX_BYTES])


def _starts(content: mmap.mmap, position: int, main: PickledContent, keys: PickledContent) -> dict[str, int]:
    """Walk over the storages, each of which begins with its number of elements."""
    if not isinstance(keys.value, list) or sorted(map(str, keys.value)) != sorted(main.storages):
        raise PickleError("its list of storages is not that of its tensors")
    starts: dict[str, int] = {}
    for key in keys.value:
        storage = main.storages[key]
        field = content[position : position + COUNT.size]
        if len(field) < COUNT.size:
            raise PickleError("the file ends before its last storage")
        (count,) = COUNT.unpack(field)
        if count != storage.count:
            raise PickleError(f"the storage {key} must have {storage.count} values; it has {count}")
        starts[key] = position + COUNT.size
        position = starts[key] + storage.n_bytes
    if position != len(content):
        raise PickleError(f"the file must have {position} bytes; it has {len(content)}")
    return starts
