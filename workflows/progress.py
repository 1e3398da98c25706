"""Progress of long work: a bar with rate and remaining time in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_SECONDS = 15.0


class ProgressReporter:
    """Counts work done towards a total; use as a context manager.

    Args:
        title: what is worked on.
        total: all the work.
        unit: of the work, in the plural: generator passes or their equal, unless said.
    """

    def __init__(self, title: str, total: float, unit: str = "passes") -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, 0.0
        self.start = self.last_line = time.monotonic()
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
        """Say something at once, above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def rate(self) -> str:
        """Units a second since the start, or a minute or an hour where that reads better; empty before the first."""
        gone = time.monotonic() - self.start
        if not self.done or not gone:
            return ""
        each = self.done / gone
        figure, name = (each, "s") if each >= 1 else (60 * each, "min") if 60 * each >= 1 else (3600 * each, "h")
        return f"{figure:{',.0f' if figure >= 100 else '.3g'}} {self.unit}/{name}"

    def line(self, note: str) -> str:
        """The plain form: share done, rate, time gone, time left."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        gone = time.monotonic() - self.start
        left = gone / share - gone if share else float("nan")
        rate = f"{self.rate()}, " if self.done else ""
        return f"{self.title}: {share:4.0%}, {rate}{gone:.0f} s gone, about {left:.0f} s left {note}".rstrip()
