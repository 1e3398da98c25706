"""Files of small shards joined into fewer, with the same rows, whatever interrupts it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cawa_core.storage import open_storage
from cawa_core.tables import Manifest, Receipt, publish
from cawa_core.tables.audit_record import AnalysisRecord, AuditRecord, RecordedIdentity
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses import ANALYSES
from workflows.folders import joining
from workflows.folders.joining import join_small_shards
from workflows.folders.rebuild import rebuild
from workflows.folders.verify import verify
from workflows.planning.shards import Shard

HASH = "a" * 64
FOLDERS = ("joined", "blocks")
RECORD = AuditRecord(
    "audit",
    RecordedIdentity({}, {}, {}, 1),
    {},
    {},
    "cpu",
    {name: AnalysisRecord(HASH, {}, ()) for name in ("edits", "segmentation")},
)


def add_shard(manifest, stage, class_ids, picture=1, analysis=HASH, **receipt):
    """Record a shard with two rows per class, with random bytes as pictures."""
    png = np.random.default_rng(class_ids).bytes(picture)
    table = ANALYSES[stage].tables[0]
    rows = [
        {"class_id": class_id, "rank": index, "index": index, "clusters": 2, "weighted": True, "png": png}
        for class_id in class_ids
        for index in (1, 0)
    ]
    columns = {name: [row.get(name) for row in rows] for name in table.columns}
    shard = Shard(stage, tuple(class_ids))
    files = publish(manifest.storage, shard.name, {table.name: columns}, analysis)
    receipt = {"seconds": 1.5, "device": "cpu", "analysis": analysis[:12]} | receipt
    manifest.add(Receipt(shard.name, stage, shard.class_ids, (), tuple(files), **receipt))


def folder_of(folder, class_ids, stage="edits", **shard):
    manifest = Manifest(open_storage(str(folder)))
    for class_id in class_ids:
        add_shard(manifest, stage, [class_id], **shard)
    manifest.settle()
    return manifest


def test_an_audit_with_joined_files_has_the_same_tables(tmp_path, monkeypatch):
    """Ten classes one by one, at six sites, against blocks of all ten: the same rows and nothing left to do."""
    spec = dataclasses.replace(SMALL, classes=(), stages=("awareness",), awareness_estimators=("closed_form",))
    monkeypatch.setattr("workflows.results.refresh.refresh", lambda *_: False)
    assert small_audit(tmp_path / "joined", spec, classes_per_shard=1).computed == 60
    assert [fault.kind for fault in verify(tmp_path / "joined").faults] == ["stale"]  # there is no summary
    result = small_audit(tmp_path / "joined", spec)
    assert (result.computed, result.reused) == (0, 6)
    small_audit(tmp_path / "blocks", spec)
    names = [sorted(path.name for path in tmp_path.glob(f"{folder}/tables/awareness/*")) for folder in FOLDERS]
    assert len(names[0]) == 6
    assert names[0] == names[1]  # which end with digests of the content


def test_many_classes_make_few_files(tmp_path):
    manifest = folder_of(tmp_path, np.random.default_rng(0).permutation(120).tolist())
    before = manifest.table("edits")
    covered = manifest.covered("edits", HASH[:12])
    assert join_small_shards(manifest, RECORD) == 120
    assert [receipt.class_ids for receipt in manifest.receipts.values()] == [
        tuple(range(50)),
        tuple(range(50, 100)),
        tuple(range(100, 120)),
    ]
    again = Manifest.read(tmp_path)
    assert again.receipts == manifest.receipts
    assert again.covered("edits", HASH[:12]) == covered
    assert len(list(tmp_path.glob("tables/edits/*"))) == 3
    pd.testing.assert_frame_equal(again.table("edits"), before)
    assert sum(receipt.seconds for receipt in again.receipts.values()) == 180
    assert join_small_shards(again, RECORD) == 0


def test_a_folder_that_grows_is_joined_now_and_then(tmp_path):
    """Nine more classes stay as they are; with the tenth they are joined, and full files are left alone."""
    manifest = folder_of(tmp_path, range(50))
    join_small_shards(manifest, RECORD)
    (full,) = manifest.receipts
    for class_id in range(50, 59):
        add_shard(manifest, "edits", [class_id])
    assert join_small_shards(manifest, RECORD) == 0
    add_shard(manifest, "edits", [59], device="cuda:0")
    assert join_small_shards(manifest, RECORD) == 10
    assert manifest.receipts.keys() == {full, "edits-c0050-0059"}
    assert manifest.receipts["edits-c0050-0059"].device == "cpu, cuda:0"


def test_what_does_not_belong_together_is_not_joined(tmp_path):
    """Nine shards each: of one analysis, of another, and of one with other options."""
    manifest = folder_of(tmp_path, range(9))
    for class_id in range(9):
        add_shard(manifest, "segmentation", [class_id])
        add_shard(manifest, "edits", [100 + class_id], analysis="b" * 64)
    assert join_small_shards(manifest, RECORD) == 0


def test_files_that_are_large_enough_stay(tmp_path):
    large = folder_of(tmp_path / "large", range(10), "segmentation", picture=2**20)
    assert join_small_shards(large, RECORD) == 0
    middle = folder_of(tmp_path / "middle", range(20), "segmentation", picture=2**18)
    assert join_small_shards(middle, RECORD) == 20
    sizes = [path.stat().st_size for path in (tmp_path / "middle").glob("tables/*/*")]
    assert len(sizes) == 2
    assert max(sizes) < 1.1 * joining.LARGEST_BYTES


@pytest.mark.parametrize("moment", ["published", "written"])
def test_a_driver_killed_while_it_joins_loses_nothing(tmp_path, monkeypatch, moment):
    """Before the one write, the old files count; after it, the new ones. The next run removes the others."""
    manifest = folder_of(tmp_path, range(10))
    before = manifest.table("edits")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, {"published": "write", "written": "_remove"}[moment], killed)
    with pytest.raises(KeyboardInterrupt):
        join_small_shards(manifest, RECORD)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("tables/edits/*"))) == 11
    again = Manifest.read(tmp_path)
    again.tidy()
    assert len(again.receipts) == len(list(tmp_path.glob("tables/edits/*"))) == {"published": 10, "written": 1}[moment]
    pd.testing.assert_frame_equal(again.table("edits"), before)


def test_a_lost_manifest_is_rebuilt_where_joining_was_interrupted(tmp_path, monkeypatch):
    """The joined files are there, and all but two of those that they replace, which come first by name."""
    folder = tmp_path / "audit"
    spec = dataclasses.replace(SMALL, classes=(), stages=("awareness",), awareness_estimators=("closed_form",))
    monkeypatch.setattr("workflows.running.audit.join_small_shards", lambda *_: 0)
    small_audit(folder, spec, classes_per_shard=1)
    small = {path: path.read_bytes() for path in sorted(folder.glob("tables/awareness/*"))}
    monkeypatch.undo()
    assert small_audit(folder, spec).computed == 0
    before = Manifest.read(folder).table("awareness")
    for path, content in list(small.items())[:-2]:
        path.write_bytes(content)
    (folder / "manifest.json").unlink()
    rebuild(str(folder))
    manifest = Manifest.read(folder)
    assert len([receipt for receipt in manifest.receipts.values() if receipt.stage == "awareness"]) == 6
    pd.testing.assert_frame_equal(manifest.table("awareness"), before)
    result = small_audit(folder, spec)
    assert (result.computed, result.reused) == (0, 6)
    assert verify(folder).faults == ()
