"""Progress of long work: a bar with a remaining time in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_SECONDS = 15.0


class ProgressReporter:
    """Counts work done towards a total; use as a context manager."""

    def __init__(self, title: str, total: float) -> None:
        self.title, self.total, self.done = title, total, 0.0
        self.start = self.last_line = time.monotonic()
        console = Console(stderr=True)
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
            self.bar = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console)
            self.task = self.bar.add_task(title, total=total, note="")

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
            self.bar.update(self.task, completed=self.done, note=note)
        elif time.monotonic() - self.last_line > LINE_EVERY_SECONDS or self.done >= self.total:
            self.last_line = time.monotonic()
            print(self.line(note), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Say something at once, above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def line(self, note: str) -> str:
        """The plain form: share done, time gone, time left."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        gone = time.monotonic() - self.start
        left = gone / share - gone if share else float("nan")
        return f"{self.title}: {share:4.0%}, {gone:.0f} s gone, about {left:.0f} s left {note}".rstrip()
