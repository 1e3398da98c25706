"""What happens in an audit, one JSON object a line, for whatever collects logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from cawa_core.errors import InputError
from cawa_core.storage import StorageError

STDERR = "-"


class EventLog:
    """Writes events to a stream; to none, nothing.

    Args:
        stream: where to.
        common: fields that every event has.
    """

    def __init__(self, stream: TextIO | None, **common: Any) -> None:  # noqa: ANN401
        self._stream, self._common = stream, common

    def write(self, event: str, **fields: Any) -> None:  # noqa: ANN401
        """One line: the time in UTC, the event's name, what all have in common, its own fields.

        Raises:
            StorageError: the stream takes no more.
        """
        if self._stream is not None:
            entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
            try:
                print(json.dumps(entry | self._common | fields), file=self._stream, flush=True)
            except OSError as error:
                raise StorageError(
                    f"log {self._stream.name} cannot be written: {error.strerror}; what is finished is kept: mend it "
                    "or choose another --log, and run the same command to go on"
                ) from None


@contextmanager
def event_log(path: str, **common: Any) -> Iterator[EventLog]:  # noqa: ANN401
    """A log appended to a file; ``-``: on stderr; empty: none.

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
        file = Path(path).expanduser().open("a")
    except OSError as error:
        raise InputError(f"log {path} cannot be written: {error.strerror}; choose another --log") from None
    try:
        yield EventLog(file, **common)
    finally:
        with suppress(OSError):  # every line was flushed, or the error told
            file.close()
