"""One file over HTTP into a folder: resumed where it broke off, whole or not there at all."""

from __future__ import annotations

import time
from pathlib import Path

import requests

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError
from cawa_core.weights.partial import Origin, PartialFile, Progress
from cawa_core.weights.record import RECORD, lock, mismatch, verified

ATTEMPTS = 4
BACK_OFF_SECONDS = 0.5
CONNECT_AND_READ_SECONDS = (10.0, 60.0)
PIECE_BYTES = 1 << 16
"""Also what a broken connection can cost: urllib3 drops a piece that is not complete."""

TRANSIENT_ERRORS = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
TOO_MANY_REQUESTS = 429


class _UnfinishedError(Exception):
    """An attempt that failed in a way that the next one may not."""


def fetch(url: str, target: Path, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Download a file unless it is there already, and verify it; of several processes only one downloads.

    What has arrived when a connection breaks is kept beside the target and continued by the next attempt or
    call. A digest that is not known whole is recorded on first use, see :mod:`cawa_core.weights.record`.

    Args:
        url: where the file is.
        target: where to put it; its folder is created.
        sha256: its SHA-256 in hexadecimal, or the first digits of it, or None.
        progress: called with the bytes that are there and the bytes of the whole (None if unknown).

    Returns:
        The target.

    Raises:
        InputError: the file cannot be had, is not whole, has another digest, or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock(target.parent):
            if not target.exists():
                _download(url, target, sha256, progress)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror or error}; mend that, set CAWA_CACHE to another folder, "
            f"or give --weights PATH"
        ) from None
    return verified(target, sha256)


def by_hand(url: str, target: Path) -> str:
    """What a user can do who cannot fetch a file."""
    return f"download {url} to {target} by hand, or give --weights PATH"


def _download(url: str, target: Path, sha256: str | None, progress: Progress | None) -> None:
    part = PartialFile(target)
    part.keep_only_from(url, can_be_checked=sha256 is not None)
    if not part.is_whole:
        _complete(url, part, target, progress)
    found = mismatch(target, digest_of_file(part.path), sha256)
    if found:
        part.remove()
        raise InputError(
            f"{target.name} from {url} {found}, and was removed; fetch it once more, or {by_hand(url, target)} "
            f"(remove {target.parent / RECORD} to accept another content than was recorded)"
        )
    part.finish(target)


def _complete(url: str, part: PartialFile, target: Path, progress: Progress | None) -> None:
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
        try:
            _attempt(url, part, progress)
            return
        except (_UnfinishedError, *TRANSIENT_ERRORS) as error:
            failure = _in_words(error)
        except requests.RequestException as error:
            raise InputError(f"{target.name} cannot be fetched: {error}; {by_hand(url, target)}") from None
    raise InputError(
        f"{target.name} cannot be fetched, {ATTEMPTS} attempts failed, the last with: {failure}; "
        f"try again later ({part.size} bytes are kept), or {by_hand(url, target)}"
    )


def _in_words(error: Exception) -> str:
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return " ".join(str(error).split())


def _attempt(url: str, part: PartialFile, progress: Progress | None) -> None:
    """Receive the rest of a file.

    Raises:
        _UnfinishedError: or one of ``TRANSIENT_ERRORS``: another attempt makes sense.
        requests.RequestException: it does not.
    """
    headers = _headers(part)
    with requests.get(url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
        _require_success(response, part)
        if response.status_code == requests.codes.partial_content:
            _require_continuation(response, part)
        else:
            part.start(Origin(url, _validator(response), _announced_size(response)))
        part.append(response.iter_content(PIECE_BYTES), progress)
    _require_whole(part)


def _headers(part: PartialFile) -> dict[str, str]:
    """Ask for the rest, unless the file has changed meanwhile; uncompressed, since ranges count sent bytes."""
    headers = {"Accept-Encoding": "identity"}
    origin = part.origin
    if part.size and origin:
        headers["Range"] = f"bytes={part.size}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    return headers


def _require_success(response: requests.Response, part: PartialFile) -> None:
    status = response.status_code
    if status == requests.codes.requested_range_not_satisfiable:
        part.remove()
    if status >= 500 or status in (TOO_MANY_REQUESTS, requests.codes.requested_range_not_satisfiable):
        raise _UnfinishedError(f"the server answered {status} {response.reason}")
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise requests.HTTPError(f"the server answered {status} {response.reason}")


def _require_continuation(response: requests.Response, part: PartialFile) -> None:
    """A range must begin where the part ends, or its bytes would land at the wrong place."""
    given = response.headers.get("Content-Range", "")
    if not given.startswith(f"bytes {part.size}-"):
        wanted = part.size
        part.remove()
        raise _UnfinishedError(f"the server sent the range {given!r} when asked for bytes {wanted}-")


def _require_whole(part: PartialFile) -> None:
    origin, arrived = part.origin, part.size
    if origin is None or origin.size is None or arrived == origin.size:
        return
    if arrived > origin.size:
        part.remove()
    raise _UnfinishedError(f"{arrived} of {origin.size} bytes arrived")


def _validator(response: requests.Response) -> str | None:
    """A weak ETag does not promise the same bytes, and If-Range does not take one (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _announced_size(response: requests.Response) -> int | None:
    size = response.headers.get("Content-Length", "")
    return int(size) if size.isdigit() else None
