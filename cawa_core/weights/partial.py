"""A download in progress: ``NAME.part`` with the bytes so far, and ``NAME.part.json`` with their origin."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cawa_core.storage import write_atomically

Progress = Callable[[int, int | None], None]
"""Function called with the bytes received so far and the bytes of the whole file, or None if unknown."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """The remote file that a partial file comes from.

    Attributes:
        url: location of the file.
        validator: strong ETag, else Last-Modified; None if the server sent neither.
        size: bytes of the whole file; None if the server did not say.
    """

    url: str
    validator: str | None = None
    size: int | None = None


class PartialFile:
    """The bytes of a file received so far, in the target's folder.

    Args:
        target: path of the complete file.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    @property
    def origin(self) -> Origin | None:
        """Origin of the bytes; None if it is not known."""
        try:
            return Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return None

    @property
    def size(self) -> int:
        """Number of bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes have arrived as the server announced."""
        origin = self.origin
        return origin is not None and 0 < self.size == origin.size

    def discard_unless_from(self, url: str, can_be_checked: bool) -> None:
        """Remove the bytes if they come from another URL, or if a change of the remote file would go unnoticed."""
        origin = self.origin
        is_safe = origin is not None and origin.url == url and bool(origin.validator or can_be_checked)
        if not is_safe or (origin and origin.size is not None and self.size > origin.size):
            self.remove()

    def start(self, origin: Origin) -> None:
        """Empty the file and record the origin of the bytes to come."""
        self.remove()
        write_atomically(self._note, json.dumps(dataclasses.asdict(origin)).encode())

    def append(self, pieces: Iterable[bytes], progress: Progress | None) -> None:
        """Append the pieces as they arrive."""
        origin = self.origin
        size = self.size
        with self.path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
                if progress:
                    progress(size, origin.size if origin else None)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, target: Path) -> None:
        """Move the complete file to its target."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the bytes and the record of their origin."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
