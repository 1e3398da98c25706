"""Documentation that can be checked is checked."""

import dataclasses
import re
from pathlib import Path

from cawa_core.schemas import as_markdown
from cawa_core.specs import AuditSpec
from workflows.config import RunOptions

ROOT = Path(__file__).parent.parent


def test_the_tables_are_documented_as_they_are():
    """`make docs` writes it anew."""
    assert (ROOT / "docs/tables.md").read_text() == as_markdown()


def test_the_readme_names_what_exists():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    options = {field.name for kind in (AuditSpec, RunOptions) for field in dataclasses.fields(kind)} | {"spec", "help"}
    for flag in re.findall(r"--([a-z][a-z-]+)", text):
        assert flag.replace("-", "_") in options, flag
    makefile = (ROOT / "Makefile").read_text()
    for goal in re.findall(r"`make ([a-z]+)`", text):
        assert f"\n{goal}:" in makefile, goal
