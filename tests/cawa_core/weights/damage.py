"""Damaged weights files with a fixed seed: what bad disks, broken scripts and ill will make of a good file."""

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

GIB = 2**30


def saved(tensors: dict[str, Tensor], *, legacy: bool = False) -> bytes:
    """A checkpoint as ``torch.save`` writes it."""
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def records_of(content: bytes) -> dict[str, bytes]:
    """The records of a zip archive by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive whose checksums are right, with the values aligned as ``torch.save`` does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_pickle(content: bytes, pickled: bytes) -> bytes:
    """The archive with another pickle, and right checksums."""
    records = records_of(content)
    (name,) = (name for name in records if name.endswith("/data.pkl"))
    return archive_of(records | {name: pickled})


def value_range(content: bytes) -> tuple[int, int]:
    """Where the record with the most values lies in an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        record = max(archive.infolist(), key=lambda record: record.file_size)
    name_size, extra_size = struct.unpack("<HH", content[record.header_offset + 26 : record.header_offset + 30])
    start = record.header_offset + 30 + name_size + extra_size
    return start, start + record.file_size


def flipped(content: bytes, rng: random.Random, start: int = 0, end: int | None = None) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[rng.randrange(start, end or len(content))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def canaries(trace: Path) -> Iterator[bytes]:
    """Pickles that create a file when something runs them."""
    command = f"touch {trace}"
    unicode = b"X" + struct.pack("<I", len(command)) + command.encode()
    yield b"cos\nsystem\n(" + unicode + b"tR."
    yield b"\x80\x04\x8c\x02os\x8c\x06system\x93" + unicode + b"\x85R."
    yield b"(ios\nsystem\nS'" + command.encode() + b"'\n" + unicode + b"."
    yield b"(S'" + command.encode() + b"'\nios\nsystem\n."
    yield b"(cos\nsystem\n" + unicode + b"o."
    yield b"cos\nsystem\n" + unicode + b"\x85\x81."
    yield b"cos\nsystem\n" + unicode + b"\x85}\x92."
    yield b"\x80\x02cbuiltins\nexec\nX\x0a\x00\x00\x00import os;1\x85R."
    yield b"\x82\x01."
    yield b"cbuiltins\ngetattr\ncos\nsystem\nX\x06\x00\x00\x00system\x86R" + unicode + b"\x85R."
    yield (
        b"}ccollections\nOrderedDict\n)R}X\x08\x00\x00\x00__reduce"
        + unicode
        + b"sb"
        + b"cos\nsystem\n"
        + unicode
        + b"\x85R."
    )
    yield pickle.dumps({"weight": _Canary(command)}, 4)


class _Canary:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (self.command,)


def bombs() -> Iterator[bytes]:
    """Short pickles that claim, or ask for, much memory or time."""
    yield b"Nr\xff\xff\xff\x7f."
    yield b"]" * 1_100_000 + b"."
    yield b"\x8e" + struct.pack("<Q", 6 * GIB) + b"x."
    yield b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01."
    yield b"\x95" + struct.pack("<Q", 6 * GIB) + b"N."
    yield b"T" + struct.pack("<i", 2**31 - 1) + b"x."
    yield b"\x80\x02}X\x01\x00\x00\x00Gq\x00h\x00s." * 2
    yield b"}q\x00X\x01\x00\x00\x00Gh\x00s."
    yield b"}" + b")" + b"2\x86" * 500 + b"Ns."
    yield b"I" + b"9" * 100_000 + b"\n."
    yield b"(" * 200_000 + b"."
    yield b"V" + b"x" * 1_000_000


def claimed_tensor(shape: tuple[int, ...], strides: tuple[int, ...], count: int, offset: int = 0) -> bytes:
    """An archive with one tensor of any claimed form over a storage of 16 bytes."""
    content = saved({"weight": torch.zeros(4)})
    pickled = next(value for name, value in records_of(content).items() if name.endswith("data.pkl"))
    before, after = pickled.split(b"K\x04tq", 1)
    numbers, offset_and_form = pickle.dumps(count, 2)[2:-1], (offset, shape, strides)
    form = b"".join(pickle.dumps(part, 2)[2:-1] for part in offset_and_form)
    return with_pickle(content, before + numbers + b"tQ" + form + after[after.index(b"\x89") :])


def safetensors_of(header: object, data: bytes = b"", claimed: int | None = None) -> bytes:
    """A ``.safetensors`` file with any header."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if claimed is None else claimed) + encoded + data
