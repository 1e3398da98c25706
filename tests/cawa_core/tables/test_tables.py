import dataclasses
import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cawa_core.errors import InputError
from cawa_core.storage import open_storage, write_atomically
from cawa_core.tables import Manifest, Receipt, publish, publish_files, publish_groups, rows_of, to_parquet
from cawa_core.tables.documents import parsed
from cawa_core.tables.manifest import FEW_LINES
from cawa_core.tables.parquet import CODES, FILES_FOLDER
from cawa_core.tables.receipts import Entry
from cawa_core.tables.schema import CRITERION, F32, I32, SITE, TABLES, TEXT, Table

ROWS = {"site": [0], "name": ["a"], "channels": [4], "resolution": [7], "inert_channels": [[]]}


TOPS = Table(
    "tops",
    ("site", "k", "criterion"),
    {
        **SITE,
        "k": (I32, "size of the top sets"),
        **CRITERION,
        "shared": (I32, "number of channels in the top set of every class"),
        "by_chance": (F32, "number expected for independent random sets"),
    },
)
SCORES = Table("scores", ("name",), {"name": (TEXT, "name of the score"), "mean": (F32, "mean of the score")})


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    """Two tables of these tests alone."""
    for table in (TOPS, SCORES):
        monkeypatch.setitem(TABLES, table.name, table)


def receipt(folder: Path, shard: str = "s", audit: str = "audit") -> Receipt:
    files = publish(folder, shard, {"sites": ROWS}, audit)
    return Receipt(shard, "analysis", (0, 1), (2,), files, 1.0, "cpu", units=((2,),))


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
    content = to_parquet("scores", {"name": ["fid"], "mean": [float("nan")]}, "audit")
    assert pq.read_table(BytesIO(content))["mean"].null_count == 1


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
    assert again.covered("analysis") == {(0, 2), (1, 2)}
    assert again.table("scores").empty
    with pytest.raises(InputError, match=r"table must be one of sites, .*; got 'colours', which no imported module"):
        again.table("colours")


def file_of(folder: Path, receipt: Receipt) -> Path:
    return folder / receipt.files[0].file


def test_a_missing_file_is_not_covered(tmp_path):
    manifest, finished = Manifest.read(tmp_path), receipt(tmp_path)
    manifest.add(finished)
    file_of(tmp_path, finished).unlink()
    assert Manifest.read(tmp_path).covered("analysis") == set()


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
    schema = {name: [0] * 4 for name in TABLES["tops"].schema.names}
    for shard, site in (("a", 0), ("b", 1)):
        rows = {**schema, "site": [site] * 4, "criterion": ["x", "x", "y", "y"], "k": [1, 2, 1, 2]}
        files = publish(tmp_path, shard, {"tops": rows}, "audit")
        manifest.add(Receipt(shard, "aggregate", (), (site,), files, 0, "cpu"))
    (tmp_path / files[0].file).write_bytes(b"PAR1")
    found = manifest.rows("tops", ["k", "criterion"], sites=[0], text_as_codes=["criterion"])
    assert found["k"].to_pylist() == [1, 2, 1, 2]
    assert found["criterion"].to_pylist() == ["x", "x", "y", "y"]
    assert manifest.sites("tops") == [0, 1]
    with pytest.raises(InputError, match="does not have the digest"):
        manifest.rows("tops", ["k"])


def test_reading_leaves_no_thread_behind(tmp_path):
    """A thread of Arrow's that outlives the interpreter aborts the process after its work is done."""
    Manifest(open_storage(tmp_path)).add(receipt(tmp_path))
    code = f"""
import os
from cawa_core.tables import Manifest
manifest = Manifest.read({str(tmp_path)!r})
before = len(os.listdir("/proc/self/task"))
print(manifest.rows("sites").num_rows, len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == [str(len(ROWS["site"])), "0"], done.stderr


def test_row_groups_are_written_and_read_one_at_a_time(tmp_path):
    manifest = Manifest.read(tmp_path)
    columns = TABLES["tops"].schema.names
    groups = [
        {name: pa.array(["x"] * n, CODES) if name == "criterion" else [n] * n for name in columns} for n in (3, 0, 5)
    ]
    file = publish_groups(tmp_path, "all", "tops", iter(groups), "audit", ["k"], ["shared"])
    manifest.add(Receipt("aggregate", "aggregate", (), (), (file,), 0, "cpu"))
    assert file.rows == 8
    assert [len(group) for group in manifest.row_groups("tops", ["k"])] == [3, 0, 5]
    assert manifest.table("tops").k.tolist() == [3] * 3 + [5] * 5
    schema = pq.read_schema(tmp_path / file.file)
    assert schema.equals(TABLES["tops"].schema)
    assert schema.metadata[b"cawa.audit"] == b"audit"
    assert schema.field("k").metadata[b"meaning"] == b"size of the top sets"
    with pytest.raises(RuntimeError, match="half way"):
        publish_groups(tmp_path, "all", "tops", failing(groups), "audit")
    assert manifest.table("tops").k.tolist() == [3] * 3 + [5] * 5
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


def test_rows_are_columns_of_the_table():
    assert rows_of("scores", [{"name": "a", "mean": 1.0, "more": 2}, {"name": "b", "mean": 2.0}]) == {
        "name": ["a", "b"],
        "mean": [1.0, 2.0],
    }
    assert rows_of("scores", []) == {"name": [], "mean": []}


UNITS = ((0,), (2,))


def with_files(folder: Path, shard: str, contents: dict[str, bytes], analysis: str = "analysis") -> Receipt:
    """Publish a table and other files of a shard of two classes and two sites."""
    files = publish(folder, shard, {"sites": ROWS}, "audit")
    files += publish_files(folder, shard, analysis, contents)
    return Receipt(shard, analysis, (0, 1), (0, 2), files, 1.0, "cpu", units=UNITS)


def test_files_are_published_beside_tables_with_a_digest_in_their_names(tmp_path):
    first = publish_files(tmp_path, "s", "analysis", {"map.npy": b"one", "log": b""})
    again = publish_files(tmp_path, "s", "analysis", {"map.npy": b"one"})
    other = publish_files(tmp_path, "s", "analysis", {"map.npy": b"other"})
    assert first[0] == again[0]
    assert [file.table for file in first] == ["", ""]
    assert [file.rows for file in first] == [0, 0]
    assert first[0].file == f"files/analysis/part-s-{first[0].sha256[:8]}.map.npy"
    assert (tmp_path / first[0].file).read_bytes() == b"one"
    assert (tmp_path / first[1].file).read_bytes() == b""
    assert other[0].file != first[0].file
    assert (tmp_path / other[0].file).read_bytes() == b"other"
    assert set(open_storage(tmp_path).names(FILES_FOLDER)) == {file.file for file in (*first, *other)}


@pytest.mark.parametrize(
    "name", ["", ".hidden", "../x", "a/b", "a\\b", "/x", "a b", "a-b", "a\n", "..", "ä.npy", "a.npy\x00", "C:x", "%2e"]
)
def test_names_of_files_are_plain(tmp_path, name):
    with pytest.raises(ValueError, match="name of a file must consist of letters, digits, underscores and dots; got "):
        publish_files(tmp_path, "s", "analysis", {name: b"content"})
    assert list(tmp_path.rglob("*")) == []


def test_a_manifest_yields_the_files_of_an_analysis_by_name(tmp_path):
    manifest = Manifest.read(tmp_path)
    first = with_files(tmp_path, "a", {"map.npy": b"a", "map.npz": b"compressed"})
    second = with_files(tmp_path, "b", {"map.npy": b"b"})
    for added in (first, second, with_files(tmp_path, "c", {"map.npy": b"c"}, "other_analysis")):
        manifest.add(added)
    again = Manifest.read(tmp_path)
    assert list(again.file("analysis", "map.npy")) == [(first, b"a"), (second, b"b")]
    assert list(again.file("analysis", "map.npz")) == [(first, b"compressed")]
    assert list(again.file("analysis", "npy")) == list(again.file("analysis", "sites")) == []
    assert list(again.file("analysis", first.files[0].file.rpartition("/")[2])) == []  # a table is not among them
    assert len(again.table("sites")) == 3
    assert again.class_ids("sites") == [0, 1]


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.add(with_files(tmp_path, "a", {"map.npy": b"a"}))
    (path,) = (tmp_path / "files").rglob("part-*")
    path.write_bytes(b"b")
    with pytest.raises(InputError, match=r"part-a-\w+\.map\.npy does not have the digest that manifest\.json records"):
        list(manifest.file("analysis", "map.npy"))
    path.unlink()
    with pytest.raises(InputError, match=r"part-a-\w+\.map\.npy is missing"):
        list(manifest.file("analysis", "map.npy"))
    assert Manifest.read(tmp_path).covered("analysis") == set()


def test_files_of_a_shard_live_and_die_with_it(tmp_path):
    """A lost file costs its shard; strays go; a shard that is published again replaces its files."""
    manifest = Manifest.read(tmp_path)
    lost, whole = (with_files(tmp_path, shard, {"map.npy": shard.encode()}) for shard in ("lost", "whole"))
    manifest.add(lost)
    manifest.add(whole)
    (stray,) = publish_files(tmp_path, "stray", "analysis", {"map.npy": b"stray"})
    assert manifest.strays() == [stray.file]
    (tmp_path / lost.files[1].file).unlink()
    manifest.tidy()
    assert list(Manifest.read(tmp_path).receipts) == ["whole"]
    assert open_storage(tmp_path).names(FILES_FOLDER) == [whole.files[1].file]
    new = with_files(tmp_path, "whole", {"map.npy": b"new"})
    manifest.add(new)
    assert list(Manifest.read(tmp_path).file("analysis", "map.npy")) == [(new, b"new")]
    assert open_storage(tmp_path).names(FILES_FOLDER) == [new.files[1].file]


def test_a_digest_of_the_folder_follows_files_that_are_not_tables(tmp_path):
    manifest = Manifest.read(tmp_path)
    manifest.add(with_files(tmp_path, "a", {"map.npy": b"a"}))
    before = manifest.digest()
    manifest.add(with_files(tmp_path, "a", {"map.npy": b"b"}))
    assert manifest.digest() != before
    assert manifest.digest(without=("analysis",)) == Manifest(tmp_path).digest()


def test_receipts_carry_the_units_of_each_class(tmp_path):
    """Sites, text, or several values; an entry of an earlier version has sites or the whole class."""
    manifest = Manifest.read(tmp_path)
    for shard, units in {
        "sites": UNITS,
        "texts": (("rising", 1), ("falling", 2)),
        "whole": ((),),
    }.items():
        files = publish(tmp_path, shard, {"sites": ROWS}, "audit")
        manifest.add(Receipt(shard, shard, (0, 1), (), files, 1.0, "cpu", units=units))
    for again in (Manifest.read(tmp_path), manifest):
        assert again.covered("sites") == {(0, 0), (0, 2), (1, 0), (1, 2)}
        assert again.covered("texts") == {
            (class_id, *unit) for class_id in (0, 1) for unit in (("rising", 1), ("falling", 2))
        }
        assert again.covered("whole") == {(0,), (1,)}
    manifest.write()
    assert Manifest.read(tmp_path).receipts == manifest.receipts


def test_receipts_of_an_earlier_version_have_units(tmp_path):
    finished = receipt(tmp_path)
    entry = finished.as_entry()
    del entry["units"]
    assert Receipt.of_entry("s", entry | {"sites": [0, 2]}).units == ((0,), (2,))
    assert Receipt.of_entry("s", entry | {"sites": []}).units == ((),)
    assert Receipt.of_entry("s", parsed(Entry, json.dumps(finished.as_entry()).encode())) == finished


GOOD_FILE = {"table": "", "file": "files/analysis/part-s-00000000.map.npy", "rows": 0, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "summary.json"}, "'summary.json' is not below files/"),
        ({"file": "tables/sites/part-s-00000000.parquet"}, "is not below files/"),
        ({"file": "filesystem/x"}, "is not below files/"),
        ({"file": "files"}, "is not below files/"),
        ({"file": "files/../audit.json"}, "is not a plain path"),
        ({"file": "../victim.txt"}, "is not a plain path"),
        ({"file": "/etc/passwd"}, "is not a plain path"),
        ({"file": "files//x"}, "is not a plain path"),
        ({"table": "sites"}, "is not below tables/sites/"),
        ({"table": None}, r"files\.0\.table: Input should be a valid string; got None"),
        ({"sha256": "../x"}, r"sha256: String should match pattern .*; got '\.\./x'"),
        ({"rows": "0"}, r"rows: Input should be a valid integer; got '0'"),
    ],
)
def test_entries_of_files_stay_in_their_folder(tmp_path, changes, message):
    """A manifest may come from anyone."""
    entry = receipt(tmp_path).as_entry() | {"files": [GOOD_FILE | changes]}
    for written in ("manifest.json", "manifest.jsonl"):
        for name in ("manifest.json", "manifest.jsonl"):
            (tmp_path / name).unlink(missing_ok=True)
        content = {"shards": {"s": entry}, "quarantined": {}} if written == "manifest.json" else {"shard": "s", **entry}
        (tmp_path / written).write_text(json.dumps(content) + "\n")
        with pytest.raises(InputError, match=rf"manifest\.json is damaged .*{message}"):
            Manifest.read(tmp_path)
