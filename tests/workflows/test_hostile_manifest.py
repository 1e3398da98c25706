"""A manifest that somebody else has written: nothing outside of the folder is opened, listed or removed."""

import json
import re
import shutil

import pytest

from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.workflows.test_cli import run
from tests.workflows.written_audits import rewrite

GOOD = {"table": "class_overlap", "file": "tables/class_overlap/x.parquet", "rows": 1, "sha256": "0" * 64}


@pytest.fixture
def folder(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "audit")
    (tmp_path / "victim.txt").write_text("mine")
    return tmp_path / "audit"


def with_entry(folder, **changes):
    rewrite(
        folder / "manifest.json", lambda content: content["shards"]["class_overlap"]["files"].append(GOOD | changes)
    )


@pytest.mark.parametrize(("command", "ending"), [("aggregate", 2), ("report", 2), ("status", 2), ("verify", 1)])
@pytest.mark.parametrize("absolute", [False, True])
def test_every_command_refuses_a_file_outside(monkeypatch, capsys, folder, command, ending, absolute):
    name = str(folder.parent / "victim.txt") if absolute else "../victim.txt"
    with_entry(folder, file=name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, printed = run(monkeypatch, capsys, command, folder)
    assert code == ending
    said = printed.out if command == "verify" else printed.err
    fault = rf"class_overlap\.files\.\d\.file: {re.escape(repr(name))} is not a plain path inside the folder"
    assert re.search(rf"manifest\.json is damaged \(shards\.{fault}", said)
    assert printed.err.count("\n") == (command != "verify")
    assert (folder.parent / "victim.txt").read_text() == "mine"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "summary.json"}, "'summary.json' is not below tables/"),
        ({"file": "tables/../audit.json"}, "is not a plain path"),
        ({"file": "tables/awareness/x.parquet"}, "is not below tables/class_overlap/"),
        ({"file": "files/edits/part-x-00000000.npy"}, "is not below tables/"),
        ({"table": "", "file": "tables/class_overlap/x.parquet"}, "is not below files/"),
        ({"table": "", "file": "files/../audit.json"}, "is not a plain path"),
        ({"table": "", "file": "audit.json"}, "'audit.json' is not below files/"),
        ({"file": ["tables/x"]}, r"file: Input should be a valid string; got \['tables/x'\]"),
        ({"sha256": "../../../../tmp/x"}, r"sha256: String should match pattern .*; got '\.\./\.\./\.\./"),
        ({"rows": "1"}, "rows: Input should be a valid integer; got '1'"),
        ({"size": 3}, "size: Unexpected keyword argument"),
    ],
)
def test_what_a_receipt_says_of_a_file_is_checked(folder, changes, message):
    with_entry(folder, **changes)
    with pytest.raises(InputError, match=message):
        Manifest.read(folder)


@pytest.mark.parametrize("name", ["../victim.txt", "audit.json", "tables/sites/x", "figures/../audit.json", "figures"])
def test_only_the_report_and_figures_are_written_from_tables(folder, name):
    rewrite(folder / "manifest.json", lambda content: content["written"].update({name: "0" * 64}))
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.read(folder)


def test_the_journal_is_checked_as_well(folder):
    shard = json.loads((folder / "manifest.json").read_text())["shards"]["class_overlap"]
    line = json.dumps({"shard": "class_overlap", **shard, "files": [GOOD | {"file": "../victim.txt"}]})
    (folder / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"'\.\./victim.txt' is not a plain path"):
        Manifest.read(folder)
