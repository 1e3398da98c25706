"""Receipts since ``manifest.json`` was last written: one line each, appended, so that the thousandth is as cheap as
the first.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """``manifest.jsonl`` beside ``manifest.json``; there only while an audit runs, or after it was killed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "manifest.jsonl"
        self.length = 0
        self._whole: int | None = None  # bytes of whole lines, once read

    def read(self) -> list[dict[str, Any]]:
        """All whole entries; what a crash left of the last one is not one.

        Raises:
            ValueError: a line before the last is damaged.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = [b""]
        entries = [json.loads(line) for line in lines[:-1]]
        self.length, self._whole = len(entries), sum(len(line) + 1 for line in lines[:-1])
        return entries

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry; it is on the disk when this returns."""
        line = json.dumps(entry).encode() + b"\n"
        with self.path.open("ab") as file:
            if self._whole is not None:
                file.truncate(self._whole)  # without what a crash left of a line
                self._whole += len(line)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.length += 1

    def clear(self) -> None:
        """Forget all, once ``manifest.json`` has it."""
        self.path.unlink(missing_ok=True)
        self.length, self._whole = 0, None
