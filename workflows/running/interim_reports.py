"""Interim reports at intervals, while an audit runs."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType

from cawa_core.errors import last_line
from cawa_core.storage import Storage
from workflows.running.events import EventLog

MODULE = "workflows.results.interim"
LARGEST_SHARE = 1 / 20
"""Largest share of the time of one core that goes into interim reports."""
PATIENCE = 5.0
"""Seconds that a report has to end when the audit does."""


class InterimReports:
    """Interim reports that another process makes, never two at a time, and none if there is nothing new.

    Use it as a context manager: it ends a report that is still being made, so that none appears after the final one.

    Args:
        storage: audit folder.
        minutes: time between two reports; 0: make none. If making one takes long, more time passes.
        log: takes an event for each report.
    """

    def __init__(self, storage: Storage, minutes: float, log: EventLog) -> None:
        self._folder = storage.everywhere
        self._seconds = 60 * minutes
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the audit
        self._started = time.monotonic()
        self._due = self._started + self._seconds

    def __enter__(self) -> InterimReports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
            self._process.kill()
            self._process.wait()
        self._output.close()

    def after_result(self, note: Callable[[str], None]) -> None:
        """Start a report if one is due, now that a result has been recorded.

        Args:
            note: called with what became of the last report.
        """
        before = _seconds_of_children()
        if self._process is not None and self._process.poll() is not None:
            self._settle(self._process.returncode, _seconds_of_children() - before, note)
        if self._seconds and self._process is None and time.monotonic() >= self._due:
            self._started = time.monotonic()
            self._output.seek(0)
            self._output.truncate()
            command = [sys.executable, "-m", MODULE, self._folder]
            # Ctrl-C reaches only the driver, which then ends this process.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, start_new_session=True
            )

    def _settle(self, code: int, seconds: float, note: Callable[[str], None]) -> None:
        """Report the end of a report, which took some seconds of a core."""
        self._process = None
        self._due = self._started + max(self._seconds, seconds / LARGEST_SHARE)
        self._output.seek(0)
        words = last_line(self._output.read().decode(errors="replace"))
        note(words if code == 0 else f"no interim report: {words}")
        self._log.write("interim", ok=code == 0, message=words, seconds=round(seconds, 3))


def _seconds_of_children() -> float:
    """Return the seconds of a core that processes of this one took, as far as their ends have been noticed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
