"""Documentation that can be checked is checked."""

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from benchmarks.__main__ import as_markdown as benchmarks_as_markdown
from workflows.analyses.documentation import tables_as_markdown
from workflows.cli import app

ROOT = Path(__file__).parent.parent


def test_the_tables_are_documented_as_they_are():
    """`make docs` regenerates the page."""
    assert (ROOT / "docs/tables.md").read_text() == tables_as_markdown()


def test_the_benchmarks_are_documented_as_they_were_measured():
    measured = json.loads((ROOT / "results/reference/benchmarks.json").read_text())
    assert benchmarks_as_markdown(measured) in (ROOT / "docs/benchmarks.md").read_text()


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


FLAGS = {
    flag.removeprefix("--").replace("-", "_")
    for command in get_command(app).commands.values()
    for parameter in command.params
    for flag in (*parameter.opts, *parameter.secondary_opts)
} | {"help"}


def options_of_examples(text: str) -> set[str]:
    """Return the options that the examples of a page declare: fields, and thresholds of class metrics."""
    metrics = re.findall(r'ClassMetric\(\n +"(\w+)",', text)
    thresholds = {f"{metric}_{change}" for metric in metrics for change in ("rise", "drop")}
    return thresholds | set(re.findall(r"^ +(\w+): .* = option\(", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_what_exists(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    options = FLAGS | options_of_examples(text)
    for flag in re.findall(r"`[^`]*--([a-z][a-z-]+)|^(?:\.venv/bin/)?cawa .*--([a-z][a-z-]+)", text, re.MULTILINE):
        name = "".join(flag).replace("-", "_")
        assert name in options, name
    makefile = (ROOT / "Makefile").read_text()
    for goal in re.findall(r"`make ([a-z]+)`", text):
        assert f"\n{goal}:" in makefile, goal
