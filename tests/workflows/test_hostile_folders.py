"""Audit folders with links, pipes, huge files and names that no program expects."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from cawa_core.errors import printable
from cawa_core.storage.names import is_plain
from cawa_core.tables.documents import sealed
from tests.damaged_folders import tiny_audit
from tests.workflows.test_cli import run
from workflows.folders.faults import Fault
from workflows.folders.verify import verify


@pytest.fixture
def folder(tiny_audited, tmp_path):
    return shutil.copytree(tiny_audited, tmp_path / "audit")


@pytest.fixture
def victim(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    return victim


@pytest.mark.parametrize("place", ["comparisons", "comparisons/{base}"])
def test_a_comparison_is_not_written_through_a_link(monkeypatch, capsys, folder, victim, tiny_audited, place):
    hash_of_base = re.search(r'"hash": "([0-9a-f]{12})', (tiny_audited / "audit.json").read_text())[1]
    link = folder / place.format(base=hash_of_base)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(victim)
    code, printed = run(monkeypatch, capsys, "compare", tiny_audited, folder)
    assert code == 2
    assert "is outside of the audit folder: a link leads there" in printed.err
    assert [path.name for path in victim.iterdir()] == ["file"]


def test_a_hash_is_no_way_out(monkeypatch, capsys, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    content = (folder / "audit.json").read_text()
    content = re.sub(r'"digest": "[0-9a-f]{64}",\n', "", re.sub(r'"hash": "[0-9a-f]{64}"', '"hash": ".."', content))
    (folder / "audit.json").write_text(content)
    code, printed = run(monkeypatch, capsys, "compare", folder, tmp_path / "other")
    assert code == 2
    assert "hash" in printed.err
    assert not list(tmp_path.glob("other/comparisons/*"))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("manifest.json", "status"),
        ("manifest.json", "verify"),
        ("manifest.jsonl", "status"),
        ("summary.json", "report"),
        ("audit.json", "verify"),
        ("report.html", "verify"),
        (".lock", "aggregate"),
        ("tables/awareness", "verify"),
    ],
)
def test_no_command_waits_for_a_pipe(monkeypatch, capsys, folder, name, command):
    path = folder / name
    if path.is_dir():
        path = next(path.glob("part-*"))
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    code, printed = run(monkeypatch, capsys, command, folder)
    assert code in (1, 2)
    assert "is a pipe or device" in printed.out + printed.err or "missing" in printed.out + printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(("name", "command"), [("manifest.json", "status"), ("summary.json", "report")])
def test_a_huge_document_is_not_read(monkeypatch, capsys, folder, name, command):
    (folder / name).unlink()
    (folder / name).touch()
    os.truncate(folder / name, 8 << 30)  # takes no room on the disk
    code, printed = run(monkeypatch, capsys, command, folder)
    assert code == 2
    assert "has more than 2 GB, so cawa did not write it" in printed.err


def test_advice_to_remove_names_what_is_in_the_way(monkeypatch, capsys, folder):
    """Not the audit."""
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    (folder / "report.html/x").touch()
    code, printed = run(monkeypatch, capsys, "report", folder)
    assert code == 2
    assert f"{folder / 'report.html'} is a folder, and must be a file; remove that folder" in printed.err


def test_names_that_cawa_does_not_write_are_left_and_named(capsys, folder):
    names = ["a\\b.parquet", "a\n84 files, 0 faults\x1b[2J.parquet"]
    for name in names:
        (folder / "tables/awareness" / name).touch()
    lines = [str(fault) for fault in verify(folder).faults]
    assert len(lines) == 2
    assert all("cawa writes no such name; remove it" in line and line.isprintable() for line in lines)
    code, _, errors = tiny_audit(folder)
    assert code == 0, errors
    assert {path.name for path in (folder / "tables/awareness").iterdir()} >= set(names)
    assert not is_plain("a\\b")
    assert str(Fault("foreign", "a\x1b[2J", "b\nc\x07")) == r"foreign a\x1b[2J: b c\x07"
    assert printable("é–\t") == "é–\\t"


def test_folders_in_folders_are_listed_without_end(folder):
    made = [folder / "tables"]
    while len(str(made[-1])) < 3000:  # more than a thousand
        made.append(made[-1] / "d")
        made[-1].mkdir()
    assert verify(folder).faults == ()
    for path in reversed(made[1:]):  # what cleans up after the tests calls itself for each
        path.rmdir()


def test_links_to_folders_elsewhere_are_named(folder, victim):
    (folder / "tables/evil").symlink_to(victim)
    (folder / "files").symlink_to(folder.parent)
    (folder / "tables/inside").symlink_to(folder / "figures")
    faults = {fault.subject: fault for fault in verify(folder).faults}
    assert faults.keys() == {"tables/evil", "files"}
    assert "a link to a folder that is outside" in faults["files"].explanation
    assert Path(victim / "file").read_text() == "mine"


@pytest.mark.parametrize("command", ["status", "report", "aggregate", "audit"])
def test_a_file_in_the_place_of_a_folder_is_named(monkeypatch, capsys, folder, command):
    shutil.rmtree(folder / "tables")
    (folder / "tables").touch()
    if command == "audit":
        code, _, errors = tiny_audit(folder)
    else:
        code, printed = run(monkeypatch, capsys, command, folder)
        errors = printed.err
    assert code == 2
    assert f"{folder / 'tables'} is a file, and must be a folder; remove it" in errors


@pytest.mark.parametrize("name", ["audit.json", "manifest.jsonl", ".lock"])
def test_a_folder_in_the_place_of_a_file_is_named(monkeypatch, capsys, folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    code, printed = run(monkeypatch, capsys, "aggregate", folder)
    assert code == 2
    assert f"{folder / name} is a folder, and must be a file; remove that folder" in printed.err


def test_results_without_the_record_of_their_audit(monkeypatch, capsys, folder):
    (folder / "audit.json").unlink()
    code, printed = run(monkeypatch, capsys, "status", folder)
    assert code == 2
    assert "has results and no audit.json, which says what they are of; restore that file" in printed.err


def test_a_link_to_itself_is_named(folder):
    table = next((folder / "tables/awareness").iterdir())
    table.unlink()
    table.symlink_to(table.name)
    (fault,) = (fault for fault in verify(folder).faults if fault.subject.endswith(table.name))
    assert "a link leads there; remove the link" in fault.explanation


def test_progress_that_nothing_counted_is_no_summary(monkeypatch, capsys, folder):
    summary = json.loads((folder / "summary.json").read_text())
    summary.pop("digest")
    (folder / "summary.json").write_bytes(sealed({**summary, "incomplete": {"classes_complete": 1, "classes": 2}}))
    code, printed = run(monkeypatch, capsys, "report", folder)
    assert code == 2
    assert "summary.json is not a summary: incomplete.stages" in printed.err
