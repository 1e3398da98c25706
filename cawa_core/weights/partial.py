"""A download in progress: ``NAME.part``, and ``NAME.part.json`` that says what it is the beginning of."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cawa_core.storage import write_atomically

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there, and the bytes of the whole file where they are known."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """The remote file that a partial file is the beginning of.

    Attributes:
        url: where it is.
        validator: its strong ETag, else its Last-Modified; None where the server gave neither.
        size: bytes of the whole; None where the server did not say.
    """

    url: str
    validator: str | None = None
    size: int | None = None


class PartialFile:
    """What has arrived of a file, in the folder where the whole will be."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    @property
    def origin(self) -> Origin | None:
        """What the bytes came from; None where that is not known."""
        try:
            return Origin(**json.loads(self._note.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes are there as the server announced."""
        origin = self.origin
        return origin is not None and 0 < self.size == origin.size

    def keep_only_from(self, url: str, can_be_checked: bool) -> None:
        """Remove the bytes if they came from elsewhere, or might be mixed with those of a changed file unnoticed."""
        origin = self.origin
        is_safe = origin is not None and origin.url == url and bool(origin.validator or can_be_checked)
        if not is_safe or (origin and origin.size is not None and self.size > origin.size):
            self.remove()

    def start(self, origin: Origin) -> None:
        """Empty the file, and note what is to come."""
        self.remove()
        write_atomically(self._note, json.dumps(dataclasses.asdict(origin)).encode())

    def append(self, pieces: Iterable[bytes], progress: Progress | None) -> None:
        """Write what arrives behind what is there."""
        origin, size = self.origin, self.size
        with self.path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
                if progress:
                    progress(size, origin.size if origin else None)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, target: Path) -> None:
        """Put the whole file in place."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
