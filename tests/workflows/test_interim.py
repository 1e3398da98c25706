"""Interim reports: of complete classes only, without a change of what the driver owns."""

import dataclasses
import io
import json
import shutil
import time

import pytest

from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.folders import joining
from workflows.folders.folder import read_audit
from workflows.folders.verify import verify
from workflows.results import interim
from workflows.results.interim import write_interim
from workflows.running.events import EventLog
from workflows.running.execution import execute
from workflows.running.interim_reports import InterimReports

SPEC = dataclasses.replace(
    SMALL, classes=(1, 3, 7, 8), stages=("awareness",), awareness_estimators=("closed_form",), bootstraps=20
)
PROGRESS = {
    "classes_complete": 2,
    "classes": 4,
    "stages": {"awareness": {"classes_complete": 2, "classes": 4}},
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Folder of an audit that was interrupted after 15 of 24 shards: two classes, and half of another."""
    folder = tmp_path_factory.mktemp("interim") / "audit"
    left = [15]

    def counted(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return execute(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflows.executors.inline.execute", counted)
        with pytest.raises(KeyboardInterrupt):
            small_audit(folder, SPEC, classes_per_shard=1)
    return folder


@pytest.fixture
def partial(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "audit")


def owned_by_the_driver(folder):
    paths = [*folder.glob("manifest.json*"), *folder.glob("tables/*/*"), folder / "audit.json"]
    return {path: path.read_bytes() for path in paths}


def test_a_report_on_demand_while_the_audit_runs(partial, monkeypatch, capsys):
    """It says how far the audit is, leaves the half class out, and vanishes when the audit is complete."""
    before = owned_by_the_driver(partial)
    with open_storage(partial).locked():
        code, printed = run(monkeypatch, capsys, "report", partial)
    assert (code, printed.out.splitlines()[0]) == (0, "interim: 2 of 4 classes complete")
    assert owned_by_the_driver(partial) == before
    assert not any(path.name.startswith(".") and path.name != ".lock" for path in partial.rglob("*"))
    summary = json.loads((partial / "summary.json").read_text())
    assert summary["incomplete"] == PROGRESS
    assert summary["heavy_tails"]["n_channels_and_classes"] == 2 * 576
    assert summary["findings"]
    assert all(finding["interim"] for finding in summary["findings"])
    page = (partial / "report.html").read_text()
    assert "Interim: 2 of 4 classes complete; awareness 2 of 4." in page
    assert "(interim)" in page

    result = small_audit(partial, SPEC, classes_per_shard=1, report=True)
    assert (result.computed, result.refreshed) == (9, True)
    summary = json.loads((partial / "summary.json").read_text())
    assert summary["incomplete"] is None
    assert not any("interim" in finding for finding in summary["findings"])
    assert "nterim" not in (partial / "report.html").read_text()
    assert verify(partial).faults == ()
    page = (partial / "report.html").read_bytes()
    assert "ended in the meantime" in write_interim(partial)
    assert (partial / "report.html").read_bytes() == page


def test_a_report_before_any_class_is_complete(partial):
    manifest = Manifest.read(partial)
    manifest.remove([shard for shard, receipt in manifest.receipts.items() if 0 in receipt.sites])
    assert write_interim(partial) == "interim: 0 of 4 classes complete"
    assert "Interim: 0 of 4 classes complete; awareness 0 of 4." in (partial / "report.html").read_text()


def test_a_summary_on_demand_leaves_the_page_alone(partial, monkeypatch, capsys):
    with open_storage(partial).locked():
        code, _ = run(monkeypatch, capsys, "aggregate", partial)
    assert (code, (partial / "summary.json").exists(), (partial / "report.html").exists()) == (0, True, False)


def test_a_folder_whose_audit_was_stopped_says_so_too(partial, monkeypatch, capsys):
    """Nobody holds the lock: derived tables are recorded, as ever."""
    for command in ("aggregate", "report"):
        assert run(monkeypatch, capsys, command, partial)[0] == 0
    summary = json.loads((partial / "summary.json").read_text())
    assert summary["incomplete"] == PROGRESS
    assert summary["heavy_tails"]["n_channels_and_classes"] == 2 * 576
    assert len(Manifest.read(partial).table("awareness")) == 3 * 576 - 3 * 64  # the tables have everything
    assert "Interim: 2 of 4 classes complete" in (partial / "report.html").read_text()
    assert "class_overlap" in Manifest.read(partial).receipts


def test_files_that_the_driver_replaces_meanwhile_are_read_again(partial, monkeypatch):
    """The driver joins files between the reading of the manifest and that of the tables."""
    monkeypatch.setattr(joining, "FEWEST_SHARDS", 2)
    attempts = []

    def overtaken(manifest):
        attempts.append(manifest)
        if len(attempts) == 1:
            own = Manifest.read(partial)
            assert joining.join_small_shards(own, read_audit(partial)) == 15
        interim_aggregate(manifest)

    interim_aggregate = interim.aggregate
    monkeypatch.setattr(interim, "aggregate", overtaken)
    assert write_interim(partial, page=False) == "interim: 2 of 4 classes complete"
    assert len(attempts) == 2


def test_reports_at_intervals_one_at_a_time(partial):
    notes = []
    log = io.StringIO()
    with InterimReports(open_storage(partial), 1e-9, EventLog(log)) as reports:
        deadline = time.monotonic() + 120
        reports.after_result(notes.append)
        process = reports._process
        while not notes and time.monotonic() < deadline:
            time.sleep(0.1)
            assert reports._process is process
            reports.after_result(notes.append)
        assert notes == ["interim: 2 of 4 classes complete"]
        assert "Interim: 2 of 4" in (partial / "report.html").read_text()
        event = json.loads(log.getvalue())
        assert (event["event"], event["ok"], event["message"]) == ("interim", True, notes[0])
        assert event["seconds"] > 0.5  # of a core: it imports PyTorch
        reports.after_result(notes.append)  # not before twenty times what the last one took
        assert (reports._process, process.returncode) == (None, 0)


def test_no_report_outlives_the_audit_and_none_is_made_unless_due(partial):
    with InterimReports(open_storage(partial), 1e-9, EventLog(None)) as reports:
        reports.after_result(print)
        process = reports._process
        assert process.poll() is None
    assert process.returncode is not None
    assert not (partial / "report.html").exists()
    for minutes in (0, 10):
        with InterimReports(open_storage(partial), minutes, EventLog(None)) as reports:
            reports.after_result(print)
            assert reports._process is None
