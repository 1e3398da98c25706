"""One audit from spec to report, in this process."""

import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cawa_core.errors import InputError
from cawa_core.masking.engine import MaskingEngine
from cawa_core.tables import Manifest
from cawa_core.tables.schema import TABLES
from tests.workflows.conftest import SMALL, WITH_CONCEPTS, flags_of, small_audit
from tests.workflows.test_cli import run
from workflows.analyses import ANALYSES
from workflows.analyses.masking.sites import TARGETS
from workflows.analyses.masking_correlation.predictors import PREDICTORS
from workflows.folders.status import status_lines
from workflows.folders.verify import verify
from workflows.lab import Lab
from workflows.options.run import RunOptions

CHANNELS = 128 * 3 + 64 * 3


def replace_work(monkeypatch, name, work):
    """Let a function of (compute, lab, shard) take the place of what computes an analysis; compute does it."""
    kind = type(ANALYSES[name].make_work())
    real = kind.run

    def run(self, lab, options, shard, earlier):
        return work(lambda: real(self, lab, options, shard, earlier), lab, shard)

    monkeypatch.setattr(kind, "run", run)


def test_every_table_is_there_with_its_rows(audited):
    manifest = Manifest.read(audited)
    tables = {name: manifest.table(name) for name in TABLES}
    assert tables.pop("concept_units").empty  # garment-parts has no probabilities that a set could be optimised by
    del tables["direction_rescoring"]  # empty if no set is confirmed by so few latents
    assert all(len(table) for table in tables.values()), {name: len(table) for name, table in tables.items()}
    assert len(tables["awareness"]) == 2 * 4 * CHANNELS
    assert int(tables["masking"].channels.map(len).sum()) == 4 * CHANNELS
    assert len(tables["class_metrics"]) == 4
    assert len(tables["masking_correlation"]) == 4 * 6 * len(PREDICTORS) * len(TARGETS)
    for name, table in tables.items():
        assert not table.duplicated(list(TABLES[name].key)).any(), name
        assert list(table.columns) == list(TABLES[name].columns), name


def test_values_are_in_their_ranges(audited):
    manifest = Manifest.read(audited)
    awareness, masking = manifest.table("awareness"), manifest.table("masking")
    for column in ("gain_sign_probability", "activation_probability"):
        assert awareness[column].between(0, 1).all()
    assert (awareness.latent_awareness.isna() == (awareness.estimator == "closed_form")).all()
    assert (masking.score_change.abs() <= masking.score_change_abs + 1e-6).all()
    assert set(masking.method) == {"exact"}
    controls = manifest.table("masking_controls")
    assert (controls[controls.control == "no_op"].score_change_abs == 0).all()
    assert set(controls.site) == {-1, 0, 1, 2, 3, 4, 5}


def test_a_second_run_has_nothing_to_do(audited):
    before = {path: path.stat().st_mtime_ns for path in audited.rglob("*") if path.is_file()}
    result = small_audit(audited, WITH_CONCEPTS, report=True)
    assert (result.computed, result.refreshed) == (0, False)
    assert {path: path.stat().st_mtime_ns for path in audited.rglob("*") if path.is_file()} == before


def test_the_summary_says_what_the_tables_say(audited):
    summary, manifest = json.loads((audited / "summary.json").read_text()), Manifest.read(audited)
    correlations = manifest.table("masking_correlation")
    chosen = correlations[
        (correlations.predictor == "expected_activation") & (correlations.target == "score_change_abs")
    ]
    row = next(
        row
        for row in summary["masking_prediction"]
        if (row["predictor"], row["target"], row["site"]) == ("expected_activation", "score_change_abs", 2)
    )
    assert row["spearman"] == pytest.approx(chosen[chosen.site == 2].spearman.mean(), abs=1e-6)
    assert summary["masking_controls"]["no_op_largest_change"] == 0
    assert {finding["verdict"] for finding in summary["findings"]} <= {
        "holds",
        "holds in part",
        "does not hold",
        "open",
        "note",
    }
    text = (audited / "summary.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_sections_of_the_report_go_by_the_names_of_the_analyses(audited):
    """In their order; the gallery shows masks as well, correlations with masking have two parts, and the concepts of
    units are shown over all classes."""
    anchors = {name: [name] for name in ANALYSES}
    anchors |= {
        "gallery": ["samples", "gallery"],
        "masking": [],
        "dissection": [],
        "masking_correlation": ["curves", "predictors"],
    }
    page = (audited / "report.html").read_text()
    expected = ["findings", "classes", *(anchor for name in ANALYSES for anchor in anchors[name]), "provenance"]
    assert re.findall(r'<section id="(\w+)">', page) == expected


def compare(one, other, tolerance):
    """Every table of two audits that is not derived from others, row by row; text and counts exactly."""
    derived = {table.name for analysis in ANALYSES.derived for table in analysis.tables}
    for name in TABLES.keys() - derived:
        compare_table(name, *(Manifest.read(folder).table(name) for folder in (one, other)), tolerance)


def compare_table(name, a, b, tolerance):
    """One of them."""
    for column in a.columns:
        if "png" in column and tolerance:
            compare_pictures(a[column], b[column], column)
        elif column == "iou" and tolerance:  # a pixel between two clusters may go to either
            np.testing.assert_allclose(a[column], b[column], atol=0.01)
        elif a[column].dtype.kind == "f":
            np.testing.assert_allclose(a[column], b[column], atol=tolerance, rtol=tolerance, err_msg=f"{name}.{column}")
        elif column.endswith("_centroid"):
            np.testing.assert_allclose(np.stack(a[column]), np.stack(b[column]), atol=tolerance, rtol=tolerance)
        else:
            assert [str(value) for value in a[column]] == [str(value) for value in b[column]], f"{name}.{column}"


def compare_pictures(a, b, column):
    """Pictures within one grey value; label maps in all but a hundredth of the pixels."""
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is None:
            continue
        for left, right in zip(*([some] if isinstance(some, bytes) else some for some in (one, other)), strict=True):
            both = [np.asarray(Image.open(io.BytesIO(png))).astype(int) for png in (left, right)]
            if column == "labels_png":
                assert (both[0] != both[1]).mean() < 0.01
            else:
                assert np.abs(both[0] - both[1]).max() <= 1


def test_the_size_of_the_shards_changes_nothing(tmp_path, audited):
    small_audit(tmp_path / "five", WITH_CONCEPTS, classes_per_shard=5)
    compare(audited, tmp_path / "five", tolerance=0)


def test_the_batch_size_changes_rounding_only(tmp_path, tiny_spec, undisturbed):
    """1e-5 of a probability; FID and log-probabilities amplify rounding by about ten."""
    small_audit(tmp_path, tiny_spec, batch_size=16)
    compare(undisturbed, tmp_path, tolerance=1e-4)
    a, b = (Manifest.read(folder).table("masking").score_change for folder in (undisturbed, tmp_path))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_stopped_audit_goes_on_where_it_was(tmp_path, tiny_spec, undisturbed, monkeypatch):
    """Interrupted after some shards, resumed with other shard sizes: nothing twice, the same rows."""
    calls = []

    def interrupted(compute, lab, shard):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(shard.name)
        return compute()

    replace_work(monkeypatch, "masking", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_audit(tmp_path, tiny_spec)
    assert len(Manifest.read(tmp_path).covered("masking")) == 5
    monkeypatch.undo()
    result = small_audit(tmp_path, tiny_spec, classes_per_shard=2)
    assert result.computed > 0
    masking_rows = Manifest.read(tmp_path).table("masking")
    assert not masking_rows.duplicated(["class_id", "site", "group"]).any()
    compare(undisturbed, tmp_path, tolerance=0)


@pytest.mark.parametrize("name", ["masking", "class_metrics"])
def test_a_poison_shard_is_quarantined_and_the_rest_goes_on(tmp_path, tiny_spec, monkeypatch, name):
    """Whichever stage it hits, the other shards, the summary and the report come out; the next run mends it."""

    def poisoned(compute, lab, shard):
        if 1 in shard.class_ids and shard.sites in ((), (0,)):
            raise RuntimeError("poison")
        return compute()

    replace_work(monkeypatch, name, poisoned)
    stages = ("awareness", "masking", "class_metrics", "gallery")
    spec = dataclasses.replace(tiny_spec, classes=(1, 3, 7, 8), masking_group_size=64, stages=stages)
    result = small_audit(tmp_path / "audit", spec, classes_per_shard=1, report=True)
    site = "-s00-00" if ANALYSES[name].by_site else ""
    assert result.quarantined == (f"{name}-c0001-0001{site}",)
    assert any("RuntimeError: poison" in line for line in status_lines(tmp_path / "audit"))
    assert "failed" in (tmp_path / "audit/report.html").read_text()
    monkeypatch.undo()
    result = small_audit(tmp_path / "audit", spec, report=True)
    assert (result.computed, result.quarantined, result.refreshed) == (1, (), True)
    assert "Incomplete:" not in (tmp_path / "audit/report.html").read_text()


def test_a_class_that_fails_costs_no_other_class_of_its_shard(tmp_path, tiny_spec, monkeypatch):
    """Four classes in a shard of the gallery: the results of three."""

    def poisoned(compute, lab, shard):
        if 3 in shard.class_ids:
            raise RuntimeError("poison")
        return compute()

    replace_work(monkeypatch, "gallery", poisoned)
    spec = dataclasses.replace(tiny_spec, classes=(1, 3, 7, 8), stages=("gallery",))
    result = small_audit(tmp_path, spec)
    assert (result.computed, result.retried, result.quarantined) == (3, 1, ("gallery-c0003-0003",))
    assert Manifest.read(tmp_path).class_ids("gallery") == [1, 7, 8]


def test_a_lost_device_stops_an_audit_in_this_process(tmp_path, tiny_spec, monkeypatch, capsys):
    """Every later shard would fail: none is given up, and the same command resumes."""
    computed = []

    def lost(compute, lab, shard):
        if len(computed) == 3:
            raise RuntimeError("CUDA error: device-side assert triggered")
        computed.append(shard.name)
        return compute()

    replace_work(monkeypatch, "masking", lost)
    spec = dataclasses.replace(tiny_spec, stages=("masking",))
    code, printed = run(
        monkeypatch, capsys, "audit", "--executor", "inline", "--output", tmp_path, "--no-report", *flags_of(spec)
    )
    assert code == 1
    assert printed.err.splitlines()[-1].startswith("cawa: the device failed: CUDA error: device-side assert triggered;")
    manifest = Manifest.read(tmp_path)
    assert (manifest.quarantined, len(manifest.covered("masking"))) == ({}, 3)
    monkeypatch.undo()
    assert small_audit(tmp_path, spec).computed == 12 - 3


@pytest.mark.parametrize("stage", ["masking", "class_metrics"])
def test_running_out_of_memory_halves_the_batch_and_changes_nothing(tmp_path, audited, monkeypatch, stage):
    """Whatever stage it meets; the batch that fits is kept for the shards that follow."""
    sizes = []

    def small_device(compute, lab, shard):
        sizes.append(lab.batch_size)
        if lab.batch_size > 16:
            raise torch.OutOfMemoryError("no memory left on the device")
        return compute()

    replace_work(monkeypatch, stage, small_device)
    spec = dataclasses.replace(SMALL, stages=(stage,))
    assert small_audit(tmp_path, spec, batch_size=64).quarantined == ()
    assert sizes[:4] == [64, 32, 16, 16]
    assert set(sizes[3:]) == {16}
    compare_table(stage, *(Manifest.read(folder).table(stage) for folder in (audited, tmp_path)), 1e-4)


def test_memory_that_masks_lack_makes_the_batch_smaller_for_whatever_follows(monkeypatch):
    lab = Lab.open(options=RunOptions(batch_size=64))
    whole = type(lab.evaluator).log_probabilities

    def small_device(self, images):
        if len(images) > 16:
            raise torch.OutOfMemoryError("no memory left on the device")
        return whole(self, images)

    monkeypatch.setattr(type(lab.evaluator), "log_probabilities", small_device)
    masks, z = [(0,), (1,), (2,)], lab.latents(1, 40)
    MaskingEngine(lab.generator, lab.evaluator, lab.batch).site_log_scores(z, 1, 5, masks)
    assert 4 <= lab.batch_size <= 16


def test_where_one_image_is_too_much_the_shard_is_given_up(tmp_path, monkeypatch):
    def no_device(compute, lab, shard):
        raise torch.OutOfMemoryError("no memory left on the device")

    replace_work(monkeypatch, "gallery", no_device)
    spec = dataclasses.replace(SMALL, stages=("gallery",))
    assert small_audit(tmp_path, spec).quarantined == tuple(f"gallery-c000{name}-000{name}" for name in (1, 3, 7, 8))


def test_events_are_lines_of_json(tmp_path, monkeypatch):
    """Started, every shard, what failed and why, done; appended by the next run."""
    spec = dataclasses.replace(SMALL, stages=("awareness",), awareness_estimators=("closed_form",), classes=(1, 8))

    def poison(compute, lab, shard):
        raise RuntimeError("poison")

    replace_work(monkeypatch, "awareness", poison)
    log = tmp_path / "log.jsonl"
    small_audit(tmp_path / "audit", spec, log=str(log))
    monkeypatch.undo()
    first = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["event"] for one in first] == ["started", *["retried", "quarantined", "quarantined"] * 6, "done"]
    assert all("RuntimeError: poison" in one["error"] for one in first[1:-1])
    small_audit(tmp_path / "audit", spec, log=str(log))
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert events[: len(first)] == first
    assert [one["event"] for one in events[len(first) :]] == ["started", *["finished"] * 6, "done"]
    retried = {one["shard"] for one in first if one["event"] == "retried"}
    assert {one["shard"] for one in events[len(first) + 1 : -1]} == retried
    assert events[-1]["computed"] == 6
    assert {(one["generator"], one["audit"]) for one in events} == {("fashion-biggan", first[0]["audit"])}
    with pytest.raises(InputError, match=r"log .* cannot be written: .*choose another --log"):
        small_audit(tmp_path / "audit", spec, log=str(tmp_path / "no/log"))


def only(found):
    (one,) = found
    return one


def test_lost_files_are_computed_again(tmp_path, tiny_spec, audited):
    """A stage's file, a derived one and the page: each comes back, whatever the shard size, and nothing twice."""
    folder = tmp_path / "audit"
    shutil.copytree(audited, folder)
    for name in (
        "masking/part-masking-c0003-0003-s01-01",
        "masking_controls/part-masking-c0007-0007-s01-01",
        "class_overlap/part-all",
        "sites/part-all",
    ):
        only(folder.glob(f"tables/{name}-*.parquet")).unlink()
    assert small_audit(folder, WITH_CONCEPTS, classes_per_shard=5).computed == 1
    compare(audited, folder, tolerance=0)
    (folder / "report.html").write_text("stale")
    assert not small_audit(folder, WITH_CONCEPTS).refreshed
    assert small_audit(folder, WITH_CONCEPTS, report=True).refreshed
    assert not small_audit(folder, WITH_CONCEPTS, report=True).refreshed
    read = [*folder.glob("tables/*/*.parquet"), *folder.glob("files/**/*.safetensors")]
    owned = [file for receipt in Manifest.read(folder).receipts.values() for file in receipt.files]
    assert len(read) == len(owned)


def test_stages_can_be_chosen(tmp_path, tiny_spec):
    spec = dataclasses.replace(tiny_spec, stages=("awareness",), awareness_estimators=("closed_form",))
    small_audit(tmp_path / "audit", spec)
    manifest = Manifest.read(tmp_path / "audit")
    assert manifest.table("masking").empty
    assert set(manifest.table("class_overlap").criterion) >= {"category_highest", "latent_highest"}
    assert isinstance(manifest.table("shared_channels"), pd.DataFrame)


def test_the_report_can_wait(tmp_path, tiny_spec, monkeypatch, capsys):
    """Without a report, tables and summary are complete and nothing is at fault; the next command writes it."""
    spec = dataclasses.replace(tiny_spec, stages=("awareness",), awareness_estimators=("closed_form",))
    small_audit(tmp_path, spec)
    summary = (tmp_path / "summary.json").read_bytes()
    assert not {"report.html", "figures"} & {path.name for path in tmp_path.iterdir()}
    assert verify(tmp_path).faults == ()
    assert not small_audit(tmp_path, spec).refreshed
    assert run(monkeypatch, capsys, "report", tmp_path)[0] == 0
    assert (tmp_path / "report.html").exists()
    assert verify(tmp_path).faults == ()
    assert (tmp_path / "summary.json").read_bytes() == summary
    small_audit(tmp_path, dataclasses.replace(spec, classes=(1, 3, 8)))
    assert [(fault.kind, fault.subject) for fault in verify(tmp_path).faults] == [("stale", "summary and report")]
    assert small_audit(tmp_path, dataclasses.replace(spec, classes=(1, 3, 8)), report=True).refreshed
    assert verify(tmp_path).faults == ()


def test_a_folder_belongs_to_one_audit(tmp_path, audited, tiny_spec):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files, choose another --output"):
        small_audit(tmp_path, tiny_spec)
    with pytest.raises(InputError, match=r"another subject: .*seed 0 there, 5 now"):
        small_audit(audited, dataclasses.replace(SMALL, seed=5))
    with pytest.raises(InputError, match="is a file"):
        small_audit(tmp_path / "notes.txt", tiny_spec)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_lower_precision_is_near_and_another_audit(tmp_path, audited):
    """bfloat16 has 8 bits: probabilities within a few hundredths in the mean."""
    spec = dataclasses.replace(SMALL, stages=("masking",), classes=(1,), dtype="bfloat16")
    small_audit(tmp_path, spec)
    manifest, reference = Manifest.read(tmp_path), Manifest.read(audited).table("masking")
    masking, reference = manifest.table("masking"), reference[reference.class_id == 1]
    difference = masking.score_change.to_numpy() - reference.score_change.to_numpy()
    assert 0 < np.abs(difference).mean() < 0.05
    assert masking.protocol[0].endswith("bfloat16")
    with pytest.raises(InputError, match="dtype 'bfloat16' there, 'float32' now"):
        small_audit(tmp_path, dataclasses.replace(spec, dtype="float32"))


def test_float32_means_float32_whatever_an_imported_model_chose():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.benchmark = True
    Lab.open()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
