import dataclasses
import json
import os
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cawa_core.errors import InputError
from cawa_core.storage import open_storage, write_atomically
from cawa_core.table_schema import TABLES
from cawa_core.tables import Manifest, Receipt, publish, publish_groups, to_parquet
from cawa_core.tables.manifest import FEW_LINES
from cawa_core.tables.parquet import CODES

ROWS = {"site": [0], "name": ["a"], "channels": [4], "resolution": [7], "inert_channels": [[]]}


def receipt(folder: Path, shard: str = "s", audit: str = "audit") -> Receipt:
    return Receipt(shard, "awareness", (0, 1), (2,), publish(folder, shard, {"sites": ROWS}, audit), 1.0, "cpu")


def test_the_same_rows_give_the_same_bytes_and_the_fixed_schema():
    content = to_parquet("sites", ROWS, "audit")
    assert content == to_parquet("sites", dict(reversed(ROWS.items())), "audit")
    schema = pq.read_schema(BytesIO(content))
    assert schema.equals(TABLES["sites"].schema)
    assert schema.field("channels").metadata[b"meaning"] == b"number of channels"


def test_columns_must_be_those_of_the_schema():
    with pytest.raises(ValueError, match="differ in colour"):
        to_parquet("sites", {**ROWS, "colour": ["red"]}, "audit")


def test_nan_becomes_null():
    rows = {"metric": ["fid"], **{name: [float("nan")] for name in ("pearson", "spearman", "ci_low", "ci_high")}}
    content = to_parquet("metric_correlation", {**rows, "n_classes": [3]}, "audit")
    assert pq.read_table(BytesIO(content))["pearson"].null_count == 1


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_manifest_is_the_only_truth(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.add(receipt(tmp_path))
    publish(tmp_path, "stray", {"sites": ROWS}, "audit")
    again = Manifest.read(tmp_path)
    assert again.receipts == manifest.receipts
    assert len(again.table("sites")) == 1
    assert again.covered("awareness") == {(0, 2), (1, 2)}
    assert again.table("masking").empty


def file_of(folder: Path, receipt: Receipt) -> Path:
    return folder / receipt.files[0].file


def test_a_missing_file_is_not_covered(tmp_path):
    manifest, finished = Manifest.read(tmp_path), receipt(tmp_path)
    manifest.add(finished)
    file_of(tmp_path, finished).unlink()
    assert Manifest.read(tmp_path).covered("awareness") == set()


def test_a_damaged_file_is_named(tmp_path):
    manifest, finished = Manifest.read(tmp_path), receipt(tmp_path)
    manifest.add(finished)
    file_of(tmp_path, finished).write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"part-s-\w+\.parquet does not have the digest"):
        manifest.table("sites")


def test_a_finished_shard_is_one_more_line(tmp_path):
    """The journal holds it until manifest.json is written; both together are the manifest."""
    manifest = Manifest.read(tmp_path)
    manifest.add(receipt(tmp_path, "a"))
    manifest.write()
    before = (tmp_path / "manifest.json").read_bytes()
    manifest.add(receipt(tmp_path, "b"))
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert list(Manifest.read(tmp_path).receipts) == ["a", "b"]
    manifest.settle()
    assert not (tmp_path / "manifest.jsonl").exists()
    assert list(json.loads((tmp_path / "manifest.json").read_text())["shards"]) == ["a", "b"]


def test_a_line_cut_off_by_a_crash_costs_that_shard_alone(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.add(receipt(tmp_path, "a"))
    manifest.add(receipt(tmp_path, "b"))
    journal = tmp_path / "manifest.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    again = Manifest.read(tmp_path)
    assert list(again.receipts) == ["a"]
    again.add(receipt(tmp_path, "c"))
    assert list(Manifest.read(tmp_path).receipts) == ["a", "c"]
    journal.write_bytes(b"half\n" + journal.read_bytes())
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.read(tmp_path)


def test_the_journal_is_taken_in_as_it_grows(tmp_path):
    manifest, files = Manifest.read(tmp_path), receipt(tmp_path)
    longest = 0
    for shard in range(3 * FEW_LINES):
        manifest.add(dataclasses.replace(files, shard=str(shard)))
        journal = tmp_path / "manifest.jsonl"
        longest = max(longest, len(journal.read_text().splitlines()) if journal.exists() else 0)
    assert FEW_LINES / 2 < longest <= 3 * FEW_LINES / 2
    assert len(Manifest.read(tmp_path).receipts) == 3 * FEW_LINES


def test_rows_of_some_sites_and_classes_alone(tmp_path):
    """Files of other shards are not opened: damage there goes unseen."""
    manifest = Manifest.read(tmp_path)
    schema = {name: [0] * 4 for name in TABLES["shared_channels"].schema.names}
    for shard, site in (("a", 0), ("b", 1)):
        rows = {**schema, "site": [site] * 4, "criterion": ["x", "x", "y", "y"], "k": [1, 2, 1, 2]}
        files = publish(tmp_path, shard, {"shared_channels": rows}, "audit")
        manifest.add(Receipt(shard, "aggregate", (), (site,), files, 0, "cpu"))
    (tmp_path / files[0].file).write_bytes(b"PAR1")
    found = manifest.rows("shared_channels", ["k", "criterion"], sites=[0], text_as_codes=["criterion"])
    assert found["k"].to_pylist() == [1, 2, 1, 2]
    assert found["criterion"].to_pylist() == ["x", "x", "y", "y"]
    assert manifest.sites("shared_channels") == [0, 1]
    with pytest.raises(InputError, match="does not have the digest"):
        manifest.rows("shared_channels", ["k"])


def test_row_groups_are_written_and_read_one_at_a_time(tmp_path):
    manifest = Manifest.read(tmp_path)
    columns = TABLES["shared_channels"].schema.names
    groups = [
        {name: pa.array(["x"] * n, CODES) if name == "criterion" else [n] * n for name in columns} for n in (3, 0, 5)
    ]
    file = publish_groups(tmp_path, "all", "shared_channels", iter(groups), "audit", ["k"], ["shared"])
    manifest.add(Receipt("aggregate", "aggregate", (), (), (file,), 0, "cpu"))
    assert file.rows == 8
    assert [len(group) for group in manifest.row_groups("shared_channels", ["k"])] == [3, 0, 5]
    assert manifest.table("shared_channels").k.tolist() == [3] * 3 + [5] * 5
    schema = pq.read_schema(tmp_path / file.file)
    assert schema.equals(TABLES["shared_channels"].schema)
    assert schema.metadata[b"cawa.audit"] == b"audit"
    assert schema.field("k").metadata[b"meaning"] == b"size of the top sets"
    with pytest.raises(RuntimeError, match="half way"):
        publish_groups(tmp_path, "all", "shared_channels", failing(groups), "audit")
    assert manifest.table("shared_channels").k.tolist() == [3] * 3 + [5] * 5
    assert open_storage(tmp_path).names("tables") == [file.file]


def failing(groups):
    yield groups[0]
    raise RuntimeError("half way")


def test_quarantine_is_kept_and_lifted(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.quarantine("s", "Traceback: boom")
    assert json.loads((tmp_path / "manifest.json").read_text())["quarantined"] == {"s": "Traceback: boom"}
    manifest = Manifest.read(tmp_path)
    manifest.add(receipt(tmp_path))
    assert Manifest.read(tmp_path).quarantined == {}


def test_tidying_leaves_only_what_is_whole(tmp_path):
    """A shard that lost a file is forgotten with the rest of its files; strays and temporary files go."""
    manifest = Manifest.read(tmp_path)
    whole, broken = (receipt(tmp_path, shard) for shard in ("whole", "broken"))
    manifest.add(whole)
    manifest.add(broken)
    manifest.quarantine("other", "boom")
    file_of(tmp_path, broken).unlink()
    publish(tmp_path, "stray", {"sites": ROWS}, "audit")
    (tmp_path / "tables/sites/.part-x.parquet.abc").write_bytes(b"half")
    manifest.tidy()
    again = Manifest.read(tmp_path)
    assert list(again.receipts) == ["whole"]
    assert again.quarantined == {}
    assert open_storage(tmp_path).names("tables") == [whole.files[0].file]


def test_a_shard_published_anew_replaces_its_files(tmp_path):
    """The old file stays until the manifest has the new one: a reader finds one or the other."""
    manifest, old = Manifest.read(tmp_path), receipt(tmp_path)
    manifest.add(old)
    files = publish(tmp_path, "s", {"sites": {**ROWS, "channels": [5]}}, "audit")
    assert Manifest.read(tmp_path).table("sites").channels.tolist() == [4]
    manifest.add(dataclasses.replace(old, files=files))
    assert Manifest.read(tmp_path).table("sites").channels.tolist() == [5]
    assert open_storage(tmp_path).names("tables") == [files[0].file]


def test_a_damaged_manifest_is_bad_input(tmp_path):
    for content in ("{", "[]", "{}", '{"shards": {"a": 1}, "quarantined": {}}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(InputError, match=r"manifest\.json is damaged"):
            Manifest.read(tmp_path)


def test_rows_of_two_audits_never_join(tmp_path):
    """Another evaluator, protocol or spec is another audit: its hash is in every file."""
    manifest = Manifest(tmp_path)
    manifest.add(receipt(tmp_path, "a", audit="one"))
    manifest.add(receipt(tmp_path, "b", audit="one"))
    assert len(manifest.table("sites")) == 2
    manifest.add(receipt(tmp_path, "c", audit="other"))
    with pytest.raises(
        InputError, match=r"table sites mixes audits: .*part-a-\w+.parquet is of one, .*part-c-\w+.parquet of other"
    ):
        manifest.table("sites")
