"""What a plan says against what an audit then does."""

import dataclasses
import re

import pytest
import torch
from workflows.stages import STAGES
from workflows.units import Calibration
from workflows.workbench import Workbench

from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL
from workflows import calibration
from workflows.calibration import calibrated
from workflows.config import RunOptions
from workflows.estimate import estimates, plan_lines, with_estimator
from workflows.shards import Shard

UNITS = Calibration(image=1.0, mask=(1.0,) * 6, screened=100.0, awareness=1e-3, sampled=1e-6)


@pytest.fixture(scope="module")
def bench():
    return Workbench.build(SMALL, RunOptions())


def test_rows_and_shards_are_those_of_the_audit(bench, audited, tmp_path):
    done = Manifest.read(audited)
    planned = estimates(bench, Manifest.read(tmp_path), None, None)
    for one, stage in zip(planned, SMALL.stages, strict=True):
        assert one.stage.startswith(stage)
        assert one.shards == sum(receipt.stage == stage for receipt in done.receipts.values())
        assert one.rows == len(done.table(stage))
        assert one.passes == pytest.approx(
            sum(
                STAGES[stage].passes(bench, site) * len(SMALL.classes)
                for site in (range(6) if STAGES[stage].by_site else [0])
            )
        )
    assert estimates(bench, done, UNITS, None) == [
        dataclasses.replace(one, shards=0, passes=0, rows=0, megabytes=0, seconds=0) for one in planned
    ]


def test_seconds_are_units_times_their_number(bench, tmp_path):
    """Exact masks of 4 latents in groups of 8, and 4 latents for each of 2 + 3 controls; or screening of 4 latents."""
    exact, screening = (
        {
            one.stage.split()[0]: one
            for one in estimates(with_estimator(bench, name), Manifest.read(tmp_path), UNITS, None)
        }
        for name in ("exact", "screening")
    )
    controls = 6 * SMALL.control_latents * (SMALL.control_repeats + 3)
    groups = 576 // 8
    assert exact["masking"].seconds == 4 * (groups * 4 + controls)
    assert screening["masking"].seconds == pytest.approx(4 * (controls + 4 * UNITS.screened))
    assert exact["class_metrics"].seconds == 2 * 60 * 4
    assert exact["awareness"].seconds == pytest.approx(4 * 576 * (UNITS.awareness + 200 * UNITS.sampled))


def test_gains_that_are_measured_cost_a_pass_a_sample_at_each_site(bench, monkeypatch):
    monkeypatch.setattr(type(bench.generator), "is_affine", lambda _, site: site != 2)
    shard = Shard("awareness", (0, 1), (1, 2))
    closed, sampled = UNITS.awareness, 200 * UNITS.sampled
    expected = 2 * (bench.generator.sites[1].channels * (closed + sampled) + 200 * UNITS.image)
    assert STAGES["awareness"].seconds(bench, shard, UNITS) == pytest.approx(expected)


def test_every_unit_is_measured(bench):
    units = calibrated(bench)
    assert len(units.mask) == 6
    assert min(units.image, *units.mask, units.screened, units.awareness, units.sampled) > 0


def test_stages_that_cluster_and_measure_distances_are_timed_themselves(bench, tmp_path):
    units = calibrated(bench)
    assert set(units.classes) == {"segmentation", "hybrids"}
    assert min(units.classes.values()) > 0
    measured = dataclasses.replace(UNITS, classes={"segmentation": 7.0, "hybrids": 11.0})
    found = {one.stage: one for one in estimates(bench, Manifest.read(tmp_path), measured, None)}
    assert (found["segmentation"].seconds, found["hybrids"].seconds) == (4 * 7, 4 * 11)
    assert found["edits"].seconds == found["edits"].passes


def test_a_stage_that_would_take_too_long_to_time_is_said_to_be_passes_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "LONGEST_SECONDS", 1e-9)
    spec = dataclasses.replace(SMALL, stages=("segmentation", "hybrids"))
    lines = plan_lines(spec, RunOptions(output=str(tmp_path)), price=None, calibrate=True)
    assert "segmentation and hybrids: only passes are counted, the rest would take too long to time here" in lines


def test_a_stage_without_work_is_not_said_to_be_unmeasured(tmp_path):
    spec = dataclasses.replace(SMALL, stages=("hybrids",), classes=(1,))
    assert not any("only passes" in line for line in plan_lines(spec, RunOptions(output=str(tmp_path)), None, True))


def test_clusters_are_timed_on_as_many_pictures_as_they_need(bench, monkeypatch):
    """Of 16 latents six would be enough; 255 clusters of 28 x 28 pixels would do with one."""
    timed = []
    monkeypatch.setattr(calibration, "_stage_seconds", lambda one, *_: timed.append(one.spec.segment_latents) or 1.0)
    own = dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, segment_latents=16))
    assert calibration._segmentation_seconds(own, image=0.001) > 1.0
    assert timed == [6, 6, 6]
    monkeypatch.setattr(calibration, "LONGEST_SECONDS", 0.02)
    assert calibration._segmentation_seconds(own, image=1.0) is None


def test_hybrids_are_not_timed_where_their_fewest_latents_take_too_long(bench, monkeypatch):
    """A share of 2 in 100 is no less than 2 tried latents, whatever 4 or 8 scored ones take."""
    monkeypatch.setattr(calibration, "_stage_seconds", lambda *_: 1.0)
    spec = dataclasses.replace(bench.spec, hybrid_tried_latents=32, hybrid_latents=400)
    own = dataclasses.replace(bench, spec=spec, reals=None)
    assert calibration._hybrid_seconds(own, image=0.001) == pytest.approx(1.0)
    assert calibration._hybrid_seconds(own, image=1.0) is None


def test_a_cuda_device_has_nothing_left_to_do_when_the_clock_starts(monkeypatch):
    calls = []
    monkeypatch.setattr(calibration.torch.cuda, "synchronize", lambda _: calls.append("wait"))
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: calls.append("clock") or 0.0)
    calibration._seconds(lambda: calls.append("work"), torch.device("cuda"))
    assert calls == ["work", "wait", "clock", "work", "wait", "clock"]
    calls.clear()
    calibration._seconds(lambda: calls.append("work"), torch.device("cpu"))
    assert calls == ["work", "clock", "work", "clock"]


def test_the_lines_name_the_choice_and_the_cost(tmp_path):
    lines = plan_lines(SMALL, RunOptions(output=str(tmp_path / "new")), price=3.0, calibrate=True)
    table = {line.split("  ")[0].strip(): line for line in lines}
    assert set(table) >= {"awareness", "masking (exact)", "masking (regression)", "masking (screening)", "all"}
    *_, hours, cost = table["all"].split()
    assert float(cost) == pytest.approx(3 * float(hours), abs=0.01)
    assert not (tmp_path / "new").exists()


def test_without_timing_there_are_no_hours(tmp_path, audited):
    lines = plan_lines(SMALL, RunOptions(output=str(audited)), price=3.0, calibrate=False)
    assert not any("device" in line for line in lines)
    (everything,) = [line for line in lines if line.startswith("all ")]
    assert re.fullmatch(r"all +0 +0 +0 +0 *", everything)
    with pytest.raises(InputError, match=r"another subject: seed 0 there, 5 now"):
        plan_lines(dataclasses.replace(SMALL, seed=5), RunOptions(output=str(audited)), None, False)


def test_a_folder_that_nobody_named_does_not_stop_a_plan(tmp_path, audited, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "fashion-biggan").symlink_to(audited)
    monkeypatch.chdir(tmp_path)
    first, *lines = plan_lines(dataclasses.replace(SMALL, seed=5), RunOptions(), None, False)
    assert first.endswith("to do in another --output: results/fashion-biggan holds another audit")
    assert not re.search(r"^all +0 ", "\n".join(lines), flags=re.MULTILINE)
