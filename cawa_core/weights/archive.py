"""PyTorch's checkpoints since version 1.6: a zip archive of one pickle and one record per storage, uncompressed."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from cawa_core.weights.pickled_tensors import PickledContent, Storage, read_content
from cawa_core.weights.unpickling import MAX_BYTES, PickleError

SIGNATURE = b"PK\x03\x04"
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Signature and, at its end, the lengths of name and extra field."""
PICKLE = "data.pkl"
PIECE_BYTES = 1 << 20


class Archive:
    """An opened archive; every record is compared with its checksum before it is used.

    Args:
        file: the open file.

    Raises:
        PickleError: the directory of the archive is damaged, or it is not a checkpoint.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        records = zipfile.ZipFile(file).infolist()
        roots = [record.filename.removesuffix(PICKLE) for record in records if record.filename.endswith(f"/{PICKLE}")]
        if len(roots) != 1:
            raise PickleError(f"a zip archive with {len(roots)} records {PICKLE}")
        self._records = {record.filename.removeprefix(roots[0]): record for record in records}
        if len(self._records) < len(records):
            raise PickleError("two records of its archive have one name")
        if any(name.startswith("code/") for name in self._records):
            raise PickleError("a TorchScript archive: save torch.jit.load(…).state_dict() by torch.save")
        if not any(record.CRC for record in records):
            raise PickleError("it has no checksums: save it again without torch.serialization.set_crc32_options(False)")

    def read(self) -> tuple[PickledContent, dict[str, int]]:
        """Return the content of the pickle, and where in the file the values of each storage begin, in bytes.

        Raises:
            PickleError: a record is missing or damaged.
        """
        if "byteorder" in self._records and self._content("byteorder") != b"little":
            raise PickleError("its numbers begin with the highest byte: save it on a machine of the other byte order")
        content = read_content(self._content(PICKLE))
        return content, {key: self._start(f"data/{key}", storage.n_bytes) for key, storage in content.storages.items()}

    def check(self, storages: Iterable[Storage]) -> None:
        """Compare the checksums of these storages, reading them piece by piece.

        Raises:
            PickleError: one differs.
        """
        for storage in storages:
            self._checked(f"data/{storage.key}", keep=False)

    def _content(self, name: str) -> bytes:
        if self._records[name].file_size > MAX_BYTES:
            raise PickleError(f"{name} is larger than {MAX_BYTES >> 20} MB")
        return self._checked(name, keep=True)

    def _checked(self, name: str, *, keep: bool) -> bytes:
        """Compare a record's checksum, and return its content if it should be kept."""
        record = self._records[name]
        self._file.seek(self._start(name, record.file_size))
        left = record.file_size
        checksum = 0
        pieces: list[bytes] = []
        while left:
            piece = self._file.read(min(left, PIECE_BYTES))
            if not piece:
                raise PickleError(f"the file ends inside the record {name}")
            checksum = zlib.crc32(piece, checksum)
            left -= len(piece)
            if keep:
                pieces.append(piece)
        if checksum != record.CRC:
            raise PickleError(f"the checksum of the record {name} differs")
        return b"".join(pieces)

    def _start(self, name: str, n_bytes: int) -> int:
        """Return where a record's content begins, if it has this size, is whole and uncompressed."""
        if name not in self._records:
            raise PickleError(f"its archive lacks the record {name}")
        record = self._records[name]
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
            raise PickleError(f"the record {name} is compressed, which torch.save never does")
        if record.file_size != n_bytes:
            raise PickleError(f"the record {name} must have {n_bytes} bytes; it has {record.file_size}")
        self._file.seek(record.header_offset)
        signature, name_size, extra_size = LOCAL_HEADER.unpack(self._file.read(LOCAL_HEADER.size))
        if signature != SIGNATURE or self._file.read(name_size) != record.orig_filename.encode():
            raise PickleError(f"the archive's directory misplaces the record {name}")
        return int(record.header_offset + LOCAL_HEADER.size + name_size + extra_size)
