"""Event log of an audit, one JSON object per line, for log collectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from cawa_core.errors import InputError
from cawa_core.paths import user_path
from cawa_core.storage import StorageError

STDERR = "-"


class EventLog:
    """Writer of events to a stream.

    Args:
        stream: stream to write to; None: write nothing.
        common: fields that every event carries.
    """

    def __init__(self, stream: TextIO | None, **common: Any) -> None:  # noqa: ANN401
        self._stream = stream
        self._common = common

    def write(self, event: str, **fields: Any) -> None:  # noqa: ANN401
        """Write one line: the time in UTC, the name of the event, the common fields and the given fields.

        Raises:
            StorageError: the stream cannot be written.
        """
        if self._stream is not None:
            entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
            try:
                print(json.dumps(entry | self._common | fields), file=self._stream, flush=True)
            except OSError as error:
                raise StorageError(
                    f"log {self._stream.name} cannot be written: {error.strerror}; fix that or choose another --log"
                ) from None


@contextmanager
def event_log(path: str, **common: Any) -> Iterator[EventLog]:  # noqa: ANN401
    """Open a log that appends to a file; ``-``: write to stderr; empty: write nothing.

    Raises:
        InputError: the file cannot be written.
    """
    if not path:
        yield EventLog(None)
        return
    if path == STDERR:
        yield EventLog(sys.stderr, **common)
        return
    try:
        file = user_path(path).open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"log {path} cannot be written: {error.strerror}; choose another --log") from None
    try:
        yield EventLog(file, **common)
    finally:
        with suppress(OSError):  # every line was flushed, or the error was raised
            file.close()
