"""What is said of long work while it goes on."""

import io

import pytest
from rich.console import Console

from workflows.running import progress
from workflows.running.progress import ProgressReporter


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_plain_line_gives_share_rate_and_remaining_time(clock, capsys):
    with ProgressReporter("auditing it", 4000) as reporter:
        clock[0] += 20
        reporter.advance(1000, "masking-c0001")
    assert capsys.readouterr().err == "auditing it:  25%, 50 passes/s, 20 s elapsed, about 60 s left masking-c0001\n"


@pytest.mark.parametrize(
    ("done", "rate"),
    [(0, ""), (1_234_560, "12,346 steps/s"), (150, "1.5 steps/s"), (50, "30 steps/min"), (0.5, "18 steps/h")],
)
def test_the_rate_is_in_the_unit_that_reads_best(clock, done, rate):
    reporter = ProgressReporter("training", 1e7, "steps")
    clock[0] += 100
    reporter.done = done
    assert reporter.rate() == rate


def test_a_bar_shows_the_rate(monkeypatch, clock):
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda **_: Console(file=screen, force_terminal=True, width=160, color_system=None)
    )
    with ProgressReporter("auditing it", 100) as reporter:
        clock[0] += 10
        reporter.advance(50, "masking-c0001")
        reporter.bar.refresh()
    assert "5 passes/s" in screen.getvalue()
