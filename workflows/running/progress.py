"""Progress of long work: a bar with rate and remaining time in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_SECONDS = 15.0


class ProgressReporter:
    """Counter of work done towards a total; use it as a context manager.

    Args:
        title: description of the work.
        total: amount of work in all.
        unit: unit of work, in the plural; by default generator passes or their equivalent.
    """

    def __init__(self, title: str, total: float, unit: str = "passes") -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0.0
        self.start = time.monotonic()
        self.last_line = self.start
        console = Console(stderr=True)
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
            fields = [TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[note]}")]
            self.bar = Progress(*columns, TimeRemainingColumn(), *fields, console=console)
            self.task = self.bar.add_task(title, total=total, rate="", note="")

    def __enter__(self) -> ProgressReporter:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, amount: float, note: str = "") -> None:
        """Report that ``amount`` more of the total is done."""
        self.done += amount
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, rate=self.rate(), note=note)
        elif time.monotonic() - self.last_line > LINE_EVERY_SECONDS or self.done >= self.total:
            self.last_line = time.monotonic()
            print(self.line(note), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Print a message at once, above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def rate(self) -> str:
        """Return the rate since the start, per second, minute or hour, whichever reads best; empty before any work."""
        elapsed = time.monotonic() - self.start
        if not self.done or not elapsed:
            return ""
        per_second = self.done / elapsed
        if per_second >= 1:
            rate, period = per_second, "s"
        elif 60 * per_second >= 1:
            rate, period = 60 * per_second, "min"
        else:
            rate, period = 3600 * per_second, "h"
        return f"{rate:{',.0f' if rate >= 100 else '.3g'}} {self.unit}/{period}"

    def line(self, note: str) -> str:
        """Format the progress as plain text: share done, rate, time elapsed, time left."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        elapsed = time.monotonic() - self.start
        left = elapsed / share - elapsed if share else float("nan")
        rate = f"{self.rate()}, " if self.done else ""
        return f"{self.title}: {share:4.0%}, {rate}{elapsed:.0f} s elapsed, about {left:.0f} s left {note}".rstrip()
