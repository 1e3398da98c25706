"""SHA-256 of files, bytes and plain data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest_of_bytes(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_data(data: Any) -> str:  # noqa: ANN401
    """Hexadecimal SHA-256 of JSON-able data, whatever the order of its keys."""
    return digest_of_bytes(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())
