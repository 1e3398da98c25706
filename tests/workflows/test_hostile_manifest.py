"""A manifest that somebody else has written: nothing outside of the folder is opened, listed or removed."""

import json
import shutil

import pytest

from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.workflows.test_cli import run

GOOD = {"table": "class_overlap", "file": "tables/class_overlap/x.parquet", "rows": 1, "sha256": "0" * 64}


@pytest.fixture
def folder(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "audit")
    (tmp_path / "victim.txt").write_text("mine")
    return tmp_path / "audit"


def with_entry(folder, **changes):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["shards"]["class_overlap"]["files"].append(GOOD | changes)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("command", ["aggregate", "report", "status", "verify"])
@pytest.mark.parametrize("absolute", [False, True])
def test_every_command_refuses_a_file_outside(monkeypatch, capsys, folder, command, absolute):
    name = str(folder.parent / "victim.txt") if absolute else "../victim.txt"
    with_entry(folder, file=name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, printed = run(monkeypatch, capsys, command, folder)
    assert code == 2
    assert printed.err.count("\n") == 1
    assert f"manifest.json is damaged (ValueError: {name!r} is not a plain path inside the folder)" in printed.err
    assert (folder.parent / "victim.txt").read_text() == "mine"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "summary.json"}, "'summary.json' is not below tables/"),
        ({"file": "tables/../audit.json"}, "is not a plain path"),
        ({"file": "files/edits/part-x-00000000.npy"}, "is not below tables/"),
        ({"table": "", "file": "tables/class_overlap/x.parquet"}, "is not below files/"),
        ({"table": "", "file": "files/../audit.json"}, "is not a plain path"),
        ({"table": "", "file": "audit.json"}, "'audit.json' is not below files/"),
        ({"file": ["tables/x"]}, "file of a file must be str"),
        ({"sha256": "../../../../tmp/x"}, "sha256 of tables/class_overlap/x.parquet must be 64 hexadecimal digits"),
        ({"rows": "1"}, "rows of a file must be int; got '1'"),
        ({"size": 3}, "unexpected keyword argument 'size'"),
    ],
)
def test_what_a_receipt_says_of_a_file_is_checked(folder, changes, message):
    with_entry(folder, **changes)
    with pytest.raises(InputError, match=message):
        Manifest.read(folder)


def test_the_journal_is_checked_as_well(folder):
    shard = json.loads((folder / "manifest.json").read_text())["shards"]["class_overlap"]
    line = json.dumps({"shard": "class_overlap", **shard, "files": [GOOD | {"file": "../victim.txt"}]})
    (folder / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"'\.\./victim.txt' is not a plain path"):
        Manifest.read(folder)
