"""Streams and arguments: locales without UTF-8, closed pipes, full devices, and bytes that are not text."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cawa_core.rendering.report import page_style
from tests.workflows.test_cli import run
from workflows.commands.terminal import escape_unencodable

CAWA = (sys.executable, "-m", "workflows")
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
QUICK = ("--stages", "awareness", "--awareness-samples", "50", "--permutations", "20", "--bootstraps", "20")


def test_characters_that_a_terminal_lacks_are_escaped(monkeypatch):
    for encoding, shown in (("ascii", "\\u6843 \\xe9"), ("gbk", "桃 é"), ("latin-1", "\\u6843 é")):
        raw = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
            escape_unencodable()
            print("桃 é", flush=True)
            assert raw.getvalue().decode(encoding).strip() == shown
            patch.setattr(sys, "stdout", io.StringIO())
            escape_unencodable()
            patch.setattr(sys, "stdout", None)
            escape_unencodable()


def test_an_audit_in_a_locale_without_utf8(tmp_path):
    arguments = (*CAWA, "audit", "--executor", "inline", "--classes", "1,8", *QUICK, "--output", tmp_path / "a")
    done = subprocess.run(arguments, env=os.environ | POSIX, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"report: " in done.stdout
    assert page_style()["style"] in (tmp_path / "a/report.html").read_text(encoding="utf-8")


def test_a_reader_that_goes_away_and_a_full_device():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run((*CAWA, "models"), stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run((*CAWA, "models"), stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"cawa: the output: No space left on device\n")


@pytest.mark.parametrize("command", ["audit", "plan", "status", "verify", "sites", "aggregate"])
def test_arguments_that_are_not_text(monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"a\xff")
    code, printed = run(
        monkeypatch, capsys, command, *([name] if command in ("status", "verify") else []), f"--x={name}"
    )
    assert code == 2
    assert printed.err.startswith("cawa: arguments must be text in UTF-8; got ")
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
