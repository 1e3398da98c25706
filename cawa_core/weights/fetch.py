"""Download of one file over HTTP: it resumes after an interruption and puts only complete files in place."""

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
"""Bytes per read; a broken connection can lose that many, as urllib3 drops an incomplete piece."""

TRANSIENT_ERRORS = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
TOO_MANY_REQUESTS = 429


class _RetryableError(Exception):
    """An attempt failed in a way that may not recur."""


def fetch(url: str, target: Path, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Download a file unless it exists, and verify it; of several processes, only one downloads.

    If the connection breaks, the received part is kept beside the target, and the next attempt or call resumes from
    it. If the full digest is not known, it is recorded on first use; see :mod:`cawa_core.weights.record`.

    Args:
        url: location of the file.
        target: path to save it to; its folder is created.
        sha256: its SHA-256 in hexadecimal, or the first digits of it, or None.
        progress: function called with the bytes received so far and the total bytes (None if unknown).

    Returns:
        The target.

    Raises:
        InputError: the file is not available or incomplete, has another digest, or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock(target.parent):
            if not target.exists():
                _download(url, target, sha256, progress)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror or error}; fix that, set CAWA_CACHE to another folder, "
            f"or give --weights PATH"
        ) from None
    return verified(target, sha256)


def by_hand(url: str, target: Path) -> str:
    """Advise a user how to get a file that cannot be fetched."""
    return f"download {url} to {target} by hand, or give --weights PATH"


def _download(url: str, target: Path, sha256: str | None, progress: Progress | None) -> None:
    part = PartialFile(target)
    part.discard_unless_from(url, can_be_checked=sha256 is not None)
    if not part.is_whole:
        _complete(url, part, target, progress)
    difference = mismatch(target, digest_of_file(part.path), sha256)
    if difference:
        part.remove()
        raise InputError(
            f"{target.name} from {url} {difference}, and was removed; fetch it again, or {by_hand(url, target)} "
            f"(remove {target.parent / RECORD} to accept a content other than the recorded one)"
        )
    part.finish(target)


def _complete(url: str, part: PartialFile, target: Path, progress: Progress | None) -> None:
    """Receive the rest of a file in several attempts."""
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
        try:
            _attempt(url, part, progress)
            return
        except requests.exceptions.ChunkedEncodingError:
            failure = "the connection broke off"
        except (_RetryableError, *TRANSIENT_ERRORS) as error:
            failure = " ".join(str(error).split())
        except requests.RequestException as error:
            raise InputError(f"{target.name} cannot be fetched: {error}; {by_hand(url, target)}") from None
    raise InputError(
        f"{target.name} cannot be fetched: {ATTEMPTS} attempts failed, the last with: {failure}; "
        f"try again later ({part.size} bytes are kept), or {by_hand(url, target)}"
    )


def _attempt(url: str, part: PartialFile, progress: Progress | None) -> None:
    """Receive the rest of a file in one attempt.

    Raises:
        _RetryableError: another attempt may succeed; so it may after one of ``TRANSIENT_ERRORS``.
        requests.RequestException: any other attempt would fail, too.
    """
    headers = _headers(part)
    with requests.get(url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
        _require_success(response, part)
        if response.status_code == requests.codes.partial_content:
            _require_continuation(response, part)
        else:
            part.start(Origin(url, _validator(response), _content_length(response)))
        part.append(response.iter_content(PIECE_BYTES), progress)
    _require_whole(part)


def _headers(part: PartialFile) -> dict[str, str]:
    """Request the rest of the file, provided that it has not changed; uncompressed, because ranges count sent bytes."""
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
        raise _RetryableError(f"the server answered {status} {response.reason}")
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise requests.HTTPError(f"the server answered {status} {response.reason}")


def _require_continuation(response: requests.Response, part: PartialFile) -> None:
    """Check that the range begins where the part ends; otherwise its bytes would be misplaced."""
    content_range = response.headers.get("Content-Range", "")
    size = part.size
    if not content_range.startswith(f"bytes {size}-"):
        part.remove()
        raise _RetryableError(f"the server sent the range {content_range!r} when asked for bytes {size}-")


def _require_whole(part: PartialFile) -> None:
    origin = part.origin
    size = part.size
    if origin is None or origin.size is None or size == origin.size:
        return
    if size > origin.size:
        part.remove()
    raise _RetryableError(f"{size} of {origin.size} bytes arrived")


def _validator(response: requests.Response) -> str | None:
    """Return a strong ETag, else Last-Modified.

    A weak ETag does not promise identical bytes, and If-Range does not accept one (RFC 9110, 13.1.5).
    """
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _content_length(response: requests.Response) -> int | None:
    size = response.headers.get("Content-Length", "")
    return int(size) if size.isdigit() else None
