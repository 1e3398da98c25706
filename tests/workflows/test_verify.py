"""Every kind of damage is named, and nothing else is."""

import dataclasses
import hashlib
import json
import shutil

import pyarrow.parquet as pq
import pytest

from cawa_core.tables import Manifest, publish, publish_files
from cawa_core.tables.schema import TABLES
from tests.workflows.conftest import WITH_CONCEPTS, small_audit
from tests.workflows.test_cli import run
from workflows.analyses import ANALYSES
from workflows.folders.verify import verify


@pytest.fixture
def folder(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "audit")
    return tmp_path / "audit"


def receipt_of(manifest, stage):
    return next(receipt for receipt in manifest.receipts.values() if receipt.stage == stage)


def kinds(folder):
    return [(fault.kind, fault.subject) for fault in verify(folder).faults]


def test_a_finished_audit_has_no_fault(folder, monkeypatch, capsys):
    found = verify(folder)
    assert found.faults == ()
    files = [file for receipt in Manifest.read(folder).receipts.values() for file in receipt.files]
    pictures = list((folder / "figures").iterdir())
    assert (found.files, found.rows) == (len(files) + len(pictures) + 2, sum(file.rows for file in files))
    assert len([*folder.glob("tables/*/*"), *folder.glob("files/**/*.safetensors")]) == len(files)
    code, printed = run(monkeypatch, capsys, "verify", folder)
    assert code == 0
    assert printed.out.endswith(f"{found.rows:,} rows read, 0 faults\n")


def test_truncated_and_missing_files(folder, monkeypatch, capsys):
    one, other = (file for file in receipt_of(Manifest.read(folder), "class_metrics").files[:2])
    (folder / one.file).write_bytes((folder / one.file).read_bytes()[:-1])
    (folder / other.file).unlink()
    assert kinds(folder)[:2] == [("damaged", one.file), ("missing", other.file)]
    code, printed = run(monkeypatch, capsys, "verify", folder)
    assert code == 1
    assert f"damaged {one.file}: " in printed.out
    assert f"missing {other.file}: " in printed.out


@pytest.mark.parametrize("table", TABLES)
def test_damage_of_any_table_hides_no_other_fault(folder, table):
    """What the rest of the verification needs is no exception."""
    files = [file for receipt in Manifest.read(folder).receipts.values() for file in receipt.files]
    damaged = next(file.file for file in files if file.table == table)
    missing = next(file.file for file in files if file.file != damaged)
    (folder / damaged).write_bytes((folder / damaged).read_bytes()[:-1])
    (folder / missing).unlink()
    (folder / "tables/stray").touch()
    found = kinds(folder)
    assert {("damaged", damaged), ("missing", missing), ("orphan", "tables/stray")} <= set(found)
    assert {kind for kind, _ in found} <= {"damaged", "missing", "orphan", "incomplete"}


def test_files_that_are_not_tables(folder):
    manifest = Manifest.read(folder)
    receipt = receipt_of(manifest, "edits")
    (file,) = publish_files(folder, receipt.shard, "edits", {"map.npy": b"map"})
    manifest.add(dataclasses.replace(receipt, files=(*receipt.files, file)))
    assert kinds(folder) == [("stale", "summary and report")]
    (folder / "files/edits/part-stray-00000000.map.npy").write_bytes(b"stray")
    (folder / file.file).write_bytes(b"other")
    assert kinds(folder)[:2] == [("damaged", file.file), ("orphan", "files/edits/part-stray-00000000.map.npy")]
    (folder / file.file).unlink()
    assert kinds(folder)[0] == ("missing", file.file)


def test_a_table_of_an_analysis_that_is_not_installed(folder):
    manifest = Manifest.read(folder)
    receipt = receipt_of(manifest, "edits")
    name = receipt.files[0].file.replace("/edits/", "/colours/")
    (folder / "tables/colours").mkdir()
    shutil.copy(folder / receipt.files[0].file, folder / name)
    file = dataclasses.replace(receipt.files[0], table="colours", file=name)
    manifest.add(dataclasses.replace(receipt, files=(*receipt.files, file)))
    (fault,) = [fault for fault in verify(folder).faults if fault.kind == "unknown"]
    assert (fault.subject, fault.explanation) == (
        file.file,
        "nothing that is installed here declares table colours",
    )


def test_a_recorded_file_that_is_no_table(folder):
    manifest = Manifest.read(folder)
    receipt = receipt_of(manifest, "gallery")
    (folder / receipt.files[0].file).write_bytes(b"none")
    digest = hashlib.sha256(b"none").hexdigest()
    files = (dataclasses.replace(receipt.files[0], sha256=digest), *receipt.files[1:])
    manifest.add(dataclasses.replace(receipt, files=files))
    assert kinds(folder)[0] == ("damaged", receipt.files[0].file)


def test_left_overs_outside_the_tables(folder):
    """The next audit removes them."""
    names = [".part.a1", "figures/.part.b2"]
    for name in names:
        (folder / name).write_bytes(b"half")
    assert kinds(folder) == [("orphan", name) for name in names]
    assert not small_audit(folder, WITH_CONCEPTS).computed
    assert kinds(folder) == []


def test_left_over_and_doubled_files(folder):
    """What an interrupted writing leaves, a file of nobody, and a second writing of a recorded shard."""
    temporary = folder / "tables/masking/.part.a1b2c3"
    temporary.write_bytes(b"PAR1")
    known = receipt_of(Manifest.read(folder), "masking").shard
    names = {shard: folder / f"tables/masking/part-{shard}-00000000.parquet" for shard in ("stranger", known)}
    for path in names.values():
        path.write_bytes(b"PAR1")
    relative = {shard: path.relative_to(folder).as_posix() for shard, path in names.items()}
    assert set(kinds(folder)) == {
        ("orphan", "tables/masking/.part.a1b2c3"),
        ("orphan", relative["stranger"]),
        ("duplicate", relative[known]),
    }


def test_rows_of_another_audit(folder):
    """A file of the right shape, recorded with its own digest, whose rows belong elsewhere."""
    manifest = Manifest.read(folder)
    receipt = receipt_of(manifest, "class_metrics")
    rows = {file.table: pq.read_table(folder / file.file).to_pydict() for file in receipt.files}
    manifest.add(dataclasses.replace(receipt, files=publish(folder, receipt.shard, rows, "another")))
    found = kinds(folder)
    assert [kind for kind, _ in found] == ["foreign"] * len(receipt.files) + ["stale"]


def test_rows_of_other_classes_and_other_protocols(folder):
    manifest, audit = Manifest.read(folder), json.loads((folder / "audit.json").read_text())
    analysis, receipt = audit["analyses"]["masking"]["hash"], receipt_of(manifest, "masking")
    rows = {file.table: pq.read_table(folder / file.file).to_pydict() for file in receipt.files}
    rows["masking"]["class_id"][0] = 9
    rows["masking"]["protocol"][0] = "another classifier"
    manifest.add(dataclasses.replace(receipt, files=publish(folder, receipt.shard, rows, analysis)))
    faults = {fault.kind: fault for fault in verify(folder).faults}
    assert set(faults) == {"foreign", "mixed", "stale"}
    assert "rows of classes 9," in faults["foreign"].explanation
    assert faults["mixed"].subject == "masking"
    assert "1 rows by 'another classifier'" in faults["mixed"].explanation


def test_shards_that_are_lacking_doubled_or_given_up(folder):
    manifest = Manifest.read(folder)
    receipt = receipt_of(manifest, "masking")
    del manifest.receipts[receipt.shard]
    manifest.receipts["other"] = dataclasses.replace(receipt_of(manifest, "awareness"), shard="other")
    manifest.quarantine(receipt.shard, "Traceback\nRuntimeError: poison\n")
    found = {(fault.kind, fault.subject): fault.explanation for fault in verify(folder).faults}
    lost = len(receipt.class_ids) * len(receipt.sites)
    assert f"{24 - lost} of 24 class-site pairs" in found["incomplete", "masking"]
    assert found["quarantined", receipt.shard] == "RuntimeError: poison"
    assert "units are in two shards" in found["duplicate", "awareness"]
    assert {file.file for file in receipt.files} <= {subject for kind, subject in found if kind == "orphan"}


@pytest.mark.parametrize("derived", [analysis.name for analysis in ANALYSES.derived])
def test_a_summary_of_other_tables(folder, derived):
    manifest = Manifest.read(folder)
    del manifest.receipts[derived]
    manifest.write()
    assert ("stale", "summary and report") in kinds(folder)
