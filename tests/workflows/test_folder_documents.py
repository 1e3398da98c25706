"""Every file of a folder is covered: what is truncated, edited, missing or left over is named, and can be repaired."""

import dataclasses
import json
import shutil

import pyarrow.parquet as pq
import pytest

from cawa_core.storage import LocalStorage
from cawa_core.tables import Manifest, publish, publish_files
from tests.damaged_folders import cawa, contents, tiny_audit
from tests.workflows.written_audits import rewrite
from workflows.folders.verify import verify

COMMANDS = ("status", "aggregate", "report")


@pytest.fixture
def folder(tiny_audited, tmp_path):
    shutil.copytree(tiny_audited, tmp_path / "audit")
    return tmp_path / "audit"


def kinds(folder):
    return {(fault.kind, fault.subject) for fault in verify(folder).faults}


def figure_of(folder):
    return min((folder / "figures").iterdir()).relative_to(folder).as_posix()


@pytest.mark.parametrize("name", ["report.html", "figure", "summary.json", "audit.json", "manifest.json"])
def test_an_edited_or_truncated_file_is_named(folder, name):
    name = figure_of(folder) if name == "figure" else name
    content = (folder / name).read_bytes()
    for changed in (content.replace(b"1", b"2"), content[:-1], content[: len(content) // 2], b""):
        (folder / name).write_bytes(changed)
        assert ("damaged", name) in kinds(folder)


@pytest.mark.parametrize("name", ["report.html", "figure"])
def test_a_missing_file_is_named_and_comes_back(folder, name):
    name = figure_of(folder) if name == "figure" else name
    before = contents(folder)
    (folder / name).unlink()
    assert ("missing", name) in kinds(folder)
    assert tiny_audit(folder)[0] == 0
    assert contents(folder) == before


def test_a_figure_that_the_report_does_not_have_is_left_over(folder):
    (folder / "figures/mine.png").write_bytes(b"mine")
    assert kinds(folder) == {("orphan", "figures/mine.png")}
    assert cawa("report", folder)[0] == 0
    assert (folder / "figures/mine.png").read_bytes() == b"mine"


def test_figures_that_a_report_no_longer_has_are_removed(folder):
    """Those that an earlier report wrote; here one that is recorded and was never made."""
    (folder / "figures/old.png").write_bytes(b"old")
    manifest = Manifest.read(folder)
    manifest.record_written(manifest.written | {"figures/old.png": "0" * 64})
    assert cawa("report", folder)[0] == 0
    assert kinds(folder) == set()
    assert not (folder / "figures/old.png").exists()


def test_a_report_that_was_written_but_not_recorded_is_written_again(folder):
    """The process ended in between: nothing is lost, and the next audit brings the folder in order."""
    before = contents(folder)
    (folder / "report.html").write_bytes((folder / "report.html").read_bytes() + b"\n")
    assert kinds(folder) == {("damaged", "report.html")}
    code, printed, _ = tiny_audit(folder)
    assert (code, printed[:18]) == (0, "nothing to compute")
    assert contents(folder) == before


def test_the_name_of_an_audit_is_the_hash_of_its_subject(folder):
    rewrite(folder / "audit.json", lambda record: record["identity"]["spec"].update(seed=5))
    assert ("damaged", "audit.json") in kinds(folder)


def test_classes_that_were_not_audited_and_files_that_are_recorded_twice(folder):
    def change(content):
        shard = next(shard for name, shard in content["shards"].items() if name.startswith("awareness"))
        shard["class_ids"].append(7)
        shard["files"].append(shard["files"][0])

    rewrite(folder / "manifest.json", change)
    found = kinds(folder)
    (receipt,) = (receipt for receipt in Manifest.read(folder).receipts.values() if 7 in receipt.class_ids)
    assert ("foreign", receipt.shard) in found
    assert ("duplicate", receipt.files[0].file) in found


@pytest.mark.parametrize("content", [b"[]", b"{}", b"{", b"", b"null", b"\xff", b"[" * 10_000])
@pytest.mark.parametrize("name", ["summary.json", "manifest.json", "audit.json"])
def test_documents_of_another_type_are_one_line(folder, name, content):
    (folder / name).write_bytes(content)
    assert ("damaged", name) in kinds(folder)
    before = contents(folder)
    for command in ("report",) if name == "summary.json" else COMMANDS:
        code, _, errors = cawa(command, folder)
        assert (code, errors.count("\n")) == (2, 1)
        assert name in errors
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "summary.json",
            lambda summary: summary.update(classes="all"),
            "classes: Input should be a valid array",
        ),
        ("summary.json", lambda summary: summary.update(seconds={"a": -1}), "seconds.a: Input should be greater"),
        ("manifest.json", lambda content: content.update(quarantined=[]), "quarantined: Input should be"),
        ("audit.json", lambda record: record.update(hash="../../x"), "hash: String should match pattern"),
        ("audit.json", lambda record: record.update(device=3), "device: Input should be a valid string; got 3"),
        ("audit.json", lambda record: record["identity"]["spec"].update(seed="x"), "seed: input should be a valid"),
        (
            "audit.json",
            lambda record: record["identity"]["spec"].update(classes=[1, "8"]),
            "indices of classes",
        ),
        ("audit.json", lambda record: record["class_names"].pop("8"), "that class_names names; got [8]"),
    ],
)
def test_a_field_of_another_type_is_named(folder, name, change, message):
    rewrite(folder / name, change)
    code, _, errors = cawa("report", folder)
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


def test_a_folder_without_manifest_is_left_alone(folder, tmp_path):
    """Nothing replaces its results by those of no tables, and no table is called left over."""
    (folder / "manifest.json").unlink()
    before = contents(folder)
    for arguments in (*((command, folder) for command in COMMANDS), ("compare", folder, folder)):
        code, _, errors = cawa(*arguments)
        assert (code, errors.count("\n")) == (2, 1)
        assert "has tables but no manifest.json" in errors
        assert "cawa verify --rebuild" in errors
    assert tiny_audit(folder)[0] == 2
    assert kinds(folder) == {("missing", "manifest.json")}
    assert contents(folder) == before
    shutil.rmtree(folder / "tables")
    for command in ("aggregate", "report"):
        code, _, errors = cawa(command, folder)
        assert code == 2
        assert "has no finished results" in errors


@pytest.mark.parametrize("content", [None, b"{", b'{"shards": {}, "quarantined": {}, "digest": "0"}'])
def test_a_manifest_is_rebuilt_from_the_tables(folder, content):
    """The rebuilt folder has the same numbers, page and figures, and nothing is left to compute."""
    before = contents(folder)
    (folder / "manifest.json").unlink()
    if content is not None:
        (folder / "manifest.json").write_bytes(content)
    code, printed, _ = cawa("verify", folder, "--rebuild")
    assert code == 0
    assert printed.startswith("rebuilt manifest.json: ")
    assert "devices and what was quarantined are unknown" in printed
    assert printed.endswith(" 0 faults\n")
    after = contents(folder)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"manifest.json"}
    assert tiny_audit(folder)[1].startswith("nothing to compute")
    assert contents(folder) == after
    code, _, errors = cawa("verify", folder, "--rebuild")
    assert (code, errors.count("\n")) == (2, 1)
    assert "is intact" in errors


def test_what_cannot_be_rebuilt_is_said_and_computed_again(folder):
    before = contents(folder)
    lost, damaged, foreign = sorted((folder / "tables/awareness").iterdir())[:3]
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-1])
    foreign.rename(foreign.with_name("part-other-00000000.parquet"))
    for name in ("manifest.json", "summary.json"):
        (folder / name).unlink()
    code, printed, _ = cawa("verify", folder, "--rebuild")
    assert code == 1
    assert f"left out tables/awareness/{damaged.name}: damaged" in printed
    assert "left out tables/awareness/part-other-00000000.parquet: damaged" in printed
    assert "seconds are unknown and count as 0" in printed
    assert "incomplete awareness: 6 of 12" in printed
    assert tiny_audit(folder)[1].startswith("3 shards computed")
    tables = {name: content for name, content in before.items() if name.startswith("tables/")}
    assert {name: content for name, content in contents(folder).items() if name.startswith("tables/")} == tables


def test_files_besides_tables_are_rebuilt_with_their_shard(folder):
    """A shard counts only with all its files."""
    manifest = Manifest.read(folder)
    receipt = next(receipt for receipt in manifest.receipts.values() if receipt.stage == "awareness")
    rows = {file.table: pq.read_table(folder / file.file).to_pydict() for file in receipt.files}
    covered = {"shard": receipt.shard, "stage": "awareness", "class_ids": receipt.class_ids, "sites": receipt.sites}
    covered |= {"units": receipt.units, "tables": sorted(rows), "files": ["map.npy"]}
    analysis = json.loads((folder / "audit.json").read_text())["analyses"]["awareness"]["hash"]
    files = publish(folder, receipt.shard, rows, analysis, covered)
    files += publish_files(folder, receipt.shard, "awareness", {"map.npy": b"map"})
    manifest.add(dataclasses.replace(receipt, files=files))
    for content, is_rebuilt in ((b"map", True), (b"other", False)):
        (folder / files[-1].file).write_bytes(content)
        (folder / "manifest.json").unlink()
        code, printed, _ = cawa("verify", folder, "--rebuild")
        assert code == int(not is_rebuilt)
        assert f"shard {receipt.shard} has lost a file" in printed or is_rebuilt
        rebuilt = Manifest.read(folder).receipts.get(receipt.shard)
        assert (rebuilt and rebuilt.files) == (files if is_rebuilt else None)


def test_a_folder_of_which_nothing_says_what_it_holds_is_not_rebuilt(folder):
    (folder / "manifest.json").unlink()
    for path in (folder / "tables/sites").iterdir():
        path.unlink()
    before = contents(folder)
    code, _, errors = cawa("verify", folder, "--rebuild")
    assert (code, errors.count("\n")) == (2, 1)
    assert "no intact table sites" in errors
    assert contents(folder) == before


def test_an_audit_that_ended_before_its_manifest_goes_on(folder, tiny_audited):
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "audit.json":
            path.unlink()
    assert tiny_audit(folder)[0] == 0
    tables = {name: content for name, content in contents(tiny_audited).items() if name.startswith("tables/")}
    assert {name: content for name, content in contents(folder).items() if name.startswith("tables/")} == tables


def test_aggregation_and_report_of_an_unchanged_folder_change_no_byte(folder):
    before = contents(folder)
    for command in ("aggregate", "report"):
        assert cawa(command, folder)[0] == 0
    after = contents(folder)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"manifest.json"}  # it has durations
    assert "class_overlap" not in json.loads((folder / "summary.json").read_text())["seconds"]


LINKS = ("manifest.json", "summary.json", "report.html", "tables", "figures", "table", ".lock")


@pytest.mark.parametrize("name", LINKS)
def test_links_that_lead_outside_are_not_followed(folder, tmp_path, name):
    """Whatever is a link: a document, a table, a folder, or the lock."""
    name = min((folder / "tables/awareness").iterdir()).relative_to(folder).as_posix() if name == "table" else name
    outside = tmp_path / "outside"
    if (folder / name).exists():
        (folder / name).rename(outside)
    else:
        outside.touch()
    (folder / name).symlink_to(outside)
    files = {"outside": outside.read_bytes()} if outside.is_file() else contents(outside)
    times = outside.stat().st_mtime_ns
    assert any(kind in ("foreign", "damaged") for kind, _ in kinds(folder)) == (name != ".lock")
    for command in (*COMMANDS, "audit"):
        code, _, errors = tiny_audit(folder) if command == "audit" else cawa(command, folder)
        assert code in (0, 2), command
        assert code == 0 or errors.count("\n") == 1
    assert files == ({"outside": outside.read_bytes()} if outside.is_file() else contents(outside))
    assert outside.stat().st_mtime_ns == times


def test_a_link_is_removed_and_replaced_itself(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    storage = LocalStorage(tmp_path / "audit")
    storage.write("audit.json", b"{}")
    for name in ("a", "b"):
        (tmp_path / "audit" / name).symlink_to(tmp_path / "mine.txt")
    storage.remove("a")
    storage.write("b", b"new")
    assert storage.names() == ["audit.json", "b"]
    assert (storage.read("b"), (tmp_path / "mine.txt").read_text()) == (b"new", "mine")
