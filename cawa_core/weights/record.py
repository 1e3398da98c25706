"""Digests of cached files: published ones, and those recorded in ``SHA256.json`` beside the files on first use."""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError
from cawa_core.storage import write_atomically

RECORD = "SHA256.json"
HEX_DIGITS = 64


def lock(folder: Path) -> FileLock:
    """Return a lock on a cache folder across processes; it is not reentrant."""
    return FileLock(folder / ".lock")


def verified(path: Path, published: str | None) -> Path:
    """Check a cached file against its published and its recorded digest, and return its path.

    If the full digest was not published, it is recorded on first use, unless the folder cannot be written.

    Args:
        path: the cached file.
        published: its published SHA-256, or the first digits of it, or None.

    Raises:
        InputError: a digest differs, or the file or the record cannot be read.
    """
    try:
        digest = digest_of_file(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; fix that, or give --weights PATH") from None
    difference = mismatch(path, digest, published)
    if difference:
        raise InputError(
            f"{path} {difference}: it was changed or damaged; remove it to have it fetched again, "
            f"and {RECORD} beside it to accept another content"
        )
    if len(published or "") < HEX_DIGITS and path.name not in recorded_digests(path.parent):
        _record(path, digest)
    return path


def was_fetched(path: Path) -> bool:
    """Return whether a file lies in a cache folder with its digest recorded, so that it can be fetched again."""
    try:
        return path.name in recorded_digests(path.parent)
    except InputError:
        return False


def mismatch(path: Path, digest: str, published: str | None) -> str:
    """Describe how a file's digest differs from the published or the recorded one; empty if it does not.

    Raises:
        InputError: the record is damaged.
    """
    for source, expected in (("published", published), ("recorded", recorded_digests(path.parent).get(path.name))):
        if expected and not digest.startswith(expected.lower()):
            return f"must have the {source} SHA-256 {expected[:12]}…; got {digest[:12]}…"
    return ""


def recorded_digests(folder: Path) -> dict[str, str]:
    """Read the recorded SHA-256 of each file name in a cache folder; empty if there is no record.

    Raises:
        InputError: the record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it to have digests recorded again") from None
    if not isinstance(content, dict) or not all(isinstance(digest, str) for digest in content.values()):
        raise InputError(f"{path} must map file names to SHA-256; remove it to have digests recorded again")
    return content


def _record(path: Path, digest: str) -> None:
    folder = path.parent
    if not os.access(folder, os.W_OK):
        return
    try:
        with lock(folder):
            content = {path.name: digest} | recorded_digests(folder)
            write_atomically(folder / RECORD, json.dumps(content, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise InputError(
            f"{folder / RECORD} cannot be written: {error.strerror}; fix that, or set CAWA_CACHE to another folder"
        ) from None
