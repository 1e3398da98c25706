"""Files that ship with the package, each checked against ``SHA256SUMS`` before use."""

from __future__ import annotations

from pathlib import Path

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError

FOLDER = Path(__file__).parent


def recorded_digests(folder: Path = FOLDER) -> dict[str, str]:
    """Read relative paths and their SHA-256 from ``SHA256SUMS``."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines if line)}


def recorded_digest(name: str, folder: Path = FOLDER) -> str:
    """Return the SHA-256 that a bundled file must have."""
    return recorded_digests(folder)[name]


def verified(name: str, folder: Path = FOLDER) -> Path:
    """Return the path of a bundled file after checking its content against the recorded digest.

    Raises:
        InputError: the file is missing or its digest differs.
    """
    path = folder / name
    expected = recorded_digest(name, folder)
    if not path.exists():
        raise InputError(f"bundled file {path} is missing; install the package again")
    actual = digest_of_file(path)
    if actual != expected:
        raise InputError(
            f"bundled file {path} must have SHA-256 {expected[:12]}…; got {actual[:12]}…: "
            "it was changed or damaged, install the package again"
        )
    return path
