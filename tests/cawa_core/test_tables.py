import json
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cawa_core import tables
from cawa_core.errors import InputError
from cawa_core.schemas import TABLES
from cawa_core.tables import Manifest, Receipt, publish, to_parquet, write_atomically

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

    monkeypatch.setattr(tables.os, "fsync", full)
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


def test_a_missing_file_is_not_covered(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.add(receipt(tmp_path))
    (tmp_path / "tables/sites/part-s.parquet").unlink()
    assert Manifest.read(tmp_path).covered("awareness") == set()


def test_a_damaged_file_is_named(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.add(receipt(tmp_path))
    (tmp_path / "tables/sites/part-s.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"part-s\.parquet does not have the digest"):
        manifest.table("sites")


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
    manifest.add(receipt(tmp_path, "whole"))
    manifest.add(receipt(tmp_path, "broken"))
    manifest.quarantine("other", "boom")
    (tmp_path / "tables/sites/part-broken.parquet").unlink()
    publish(tmp_path, "stray", {"sites": ROWS}, "audit")
    (tmp_path / "tables/sites/.part-x.parquet.abc").write_bytes(b"half")
    manifest.tidy()
    again = Manifest.read(tmp_path)
    assert list(again.receipts) == ["whole"]
    assert again.quarantined == {}
    assert [path.name for path in (tmp_path / "tables/sites").iterdir()] == ["part-whole.parquet"]


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
        InputError, match=r"table sites mixes audits: .*part-a.parquet is of one, .*part-c.parquet of other"
    ):
        manifest.table("sites")
