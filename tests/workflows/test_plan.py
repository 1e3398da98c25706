"""What a plan says against what an audit then does."""

import dataclasses
import re

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.workflows.conftest import LABELLED, SMALL
from workflows.analyses.hybrids import cost as hybrids_cost
from workflows.analyses.segmentation import work as segmentation_work
from workflows.options.run import RunOptions
from workflows.planning import calibration
from workflows.planning import plan as plans
from workflows.planning.calibration import Paces, paces
from workflows.planning.estimate import estimates, plan_lines
from workflows.planning.plan import plan
from workflows.planning.shards import Shard
from workflows.running.job import Job

SCREENING, CLOSED_FORM, SAMPLE = 100.0, 1e-3, 1e-6
MASKS = {f"mask at site {site}": 1.0 for site in range(6)}
BY_ANALYSIS = {
    "gallery": {"image": 1.0},
    "awareness": {"image": 1.0, "closed_form": CLOSED_FORM, "sample": SAMPLE},
    "masking": {"image": 1.0, "screening": SCREENING, **MASKS},
    "class_metrics": {"image": 1.0},
    "edits": {"image": 1.0},
    "hybrids": None,
    "segmentation": None,
    "latents": {"image": 1.0, "scored image": 1.0},
    "directions": {"image": 1.0, "scored image": 1.0},
}
"""Seconds as a plan might have measured them; of two analyses it counts passes."""
PACES = Paces(1.0, BY_ANALYSIS)


@pytest.fixture(scope="module")
def job():
    return Job.open(LABELLED, RunOptions())


def test_rows_and_shards_are_those_of_the_audit(job, audited, tmp_path):
    done = Manifest.read(audited)
    planned = estimates(job, Manifest.read(tmp_path), None, None)
    for estimate, name in zip(planned, SMALL.stages, strict=True):
        assert estimate.stage.startswith(name)
        assert estimate.shards == sum(receipt.stage == name for receipt in done.receipts.values())
        if name == "directions":  # at the most: concepts that no set controls have fewer
            assert 0 < len(done.table(name)) <= estimate.rows
        else:
            assert estimate.rows == len(done.table(name))
        assert estimate.passes == pytest.approx(
            sum(
                job.work(name).cost(job.lab, job.spec, class_id, unit).passes
                for class_id in SMALL.classes
                for unit in job.units(name, class_id)
            )
        )
    assert estimates(job, done, PACES, None) == [
        dataclasses.replace(estimate, shards=0, passes=0, rows=0, megabytes=0, seconds=0) for estimate in planned
    ]


def test_units_are_planned_whatever_their_shards(job, tmp_path):
    """Each class and unit once, by one class or by all classes per shard."""
    for size in (1, 100):
        shards = plan(job, Manifest.read(tmp_path), size)
        units = [
            (shard.analysis, class_id, *unit)
            for shard in shards
            for class_id in shard.class_ids
            for unit in shard.units
        ]
        assert sorted(units) == sorted(
            (name, class_id, *unit)
            for name in SMALL.stages
            for class_id in SMALL.classes
            for unit in job.units(name, class_id)
        )
        assert len({shard.name for shard in shards}) == len(shards)


def test_expensive_classes_make_small_shards(job, tmp_path, monkeypatch):
    """Of gains that must be measured, 200 passes a class at each site: at most 2 classes of 4 for 500 passes."""
    monkeypatch.setattr(type(job.lab.generator), "is_affine", lambda _, site: site != 2)
    monkeypatch.setattr(plans, "LARGEST_BLOCK", 500.0)
    shards = plan(job.with_spec(stages=("awareness",)), Manifest.read(tmp_path), None)
    sizes = {site: [len(shard.class_ids) for shard in shards if shard.sites == (site,)] for site in range(6)}
    assert sizes == {site: [2, 2] if site == 2 else [4] for site in range(6)}


def test_seconds_are_paces_times_their_number(job, tmp_path):
    """Exact masks of 4 latents in groups of 8, and 4 latents for each of 2 + 3 controls; or screening of 4 latents."""
    exact, screening = (
        {
            estimate.stage.split()[0]: estimate
            for estimate in estimates(job.with_spec(masking_estimator=name), Manifest.read(tmp_path), PACES, None)
        }
        for name in ("exact", "screening")
    )
    controls = 6 * SMALL.control_latents * (SMALL.control_repeats + 3)
    groups = 576 // 8
    assert exact["masking"].seconds == 4 * (groups * 4 + controls)
    assert screening["masking"].seconds == pytest.approx(4 * (controls + 4 * SCREENING))
    assert exact["class_metrics"].seconds == 2 * 60 * 4
    assert exact["awareness"].seconds == pytest.approx(4 * 576 * (CLOSED_FORM + 200 * SAMPLE))


def test_gains_that_are_measured_cost_a_pass_a_sample_at_each_site(job, monkeypatch):
    monkeypatch.setattr(type(job.lab.generator), "is_affine", lambda _, site: site != 2)
    shard = Shard("awareness", (0, 1), ((1,), (2,)), by_site=True)
    expected = 2 * (job.lab.generator.sites[1].channels * (CLOSED_FORM + 200 * SAMPLE) + 200 * 1.0)
    seconds = job.work("awareness").seconds(job.lab, job.spec, shard, BY_ANALYSIS["awareness"])
    assert seconds == pytest.approx(expected)


def test_every_kind_of_work_is_measured(job):
    measured = paces(job)
    assert {name: set(pace) for name, pace in measured.by_analysis.items()} == {
        name: set(BY_ANALYSIS[name] or {"image": 1.0, "class": 1.0}) for name in SMALL.stages
    }
    assert min(seconds for pace in measured.by_analysis.values() for seconds in pace.values()) > 0
    assert {pace["image"] for pace in measured.by_analysis.values()} == {measured.image}


def test_analyses_that_cluster_and_measure_distances_are_timed_themselves(job, tmp_path):
    timed = {"segmentation": {"image": 1.0, "class": 7.0}, "hybrids": {"image": 1.0, "class": 11.0}}
    measured = Paces(1.0, BY_ANALYSIS | timed)
    by_name = {estimate.stage: estimate for estimate in estimates(job, Manifest.read(tmp_path), measured, None)}
    assert (by_name["segmentation"].seconds, by_name["hybrids"].seconds) == (4 * 7, 4 * 11)
    assert by_name["edits"].seconds == by_name["edits"].passes


def test_where_passes_are_counted_each_takes_as_long_as_an_image(job, tmp_path):
    by_name = {estimate.stage: estimate for estimate in estimates(job, Manifest.read(tmp_path), PACES, None)}
    for name in ("segmentation", "hybrids"):
        assert by_name[name].seconds == by_name[name].passes > 0


def test_an_analysis_that_would_take_too_long_to_time_is_said_to_be_passes_only(tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation_work, "LONGEST_SECONDS", 1e-9)
    monkeypatch.setattr(hybrids_cost, "LONGEST_SECONDS", 1e-9)
    spec = dataclasses.replace(SMALL, stages=("segmentation", "hybrids"))
    lines = plan_lines(spec, RunOptions(output=str(tmp_path)), price=None, calibrate=True)
    assert (
        "segmentation and hybrids: only passes are counted, because timing the rest would take too long here" in lines
    )
    (everything,) = [line for line in lines if line.startswith("all ")]
    assert float(everything.split()[-1]) > 0


def test_an_analysis_without_work_is_not_said_to_be_unmeasured(tmp_path):
    spec = dataclasses.replace(SMALL, stages=("hybrids",), classes=(1,))
    assert not any("only passes" in line for line in plan_lines(spec, RunOptions(output=str(tmp_path)), None, True))


def test_nothing_is_timed_where_nothing_is_to_be_mixed(job, monkeypatch):
    """A generator that takes one class for a whole picture has no hybrids."""
    monkeypatch.setattr(type(job.lab.generator), "mixes_classes", False)
    pace = job.work("hybrids").pace(job.lab, job.spec, 1e9, lambda *_: pytest.fail("it timed something"))
    assert pace == {"class": 0.0}


def test_clusters_are_timed_on_as_many_pictures_as_they_need(job, monkeypatch):
    """Of 16 latents six would be enough; 255 clusters of 28 x 28 pixels would do with one."""
    timed = []
    monkeypatch.setattr(segmentation_work, "segmented", lambda *arguments: timed.append(arguments[-1]))

    def seconds(work, warm):
        if not warm:
            work()
        return 1e-3 if warm else 1.0

    options = dataclasses.replace(job.spec, segmentation_fitted_latents=16)
    work = job.work("segmentation")
    assert work.pace(job.lab, options, 0.001, seconds)["class"] > 1.0
    assert timed == [6, 6, 6]
    monkeypatch.setattr(segmentation_work, "LONGEST_SECONDS", 0.02)
    assert work.pace(job.lab, options, 1.0, seconds) is None


def test_hybrids_are_not_timed_where_their_fewest_latents_take_too_long(job):
    """A share of 2 in 100 is no less than 2 tried latents, whatever 4 or 8 scored ones take."""
    options = dataclasses.replace(job.spec, hybrid_tried_latents=32, hybrid_scored_latents=400)
    lab = dataclasses.replace(job.lab, real_image_set=None)
    work = job.work("hybrids")
    assert work.pace(lab, options, 0.001, lambda *_: 1.0) == {"class": pytest.approx(1.0)}
    assert work.pace(lab, options, 1.0, lambda *_: 1.0) is None


def test_a_cuda_device_has_nothing_left_to_do_when_the_clock_starts(monkeypatch):
    calls = []
    monkeypatch.setattr(calibration.torch.cuda, "synchronize", lambda _: calls.append("wait"))
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: calls.append("clock") or 0.0)
    calibration.seconds_of(torch.device("cuda"), lambda: calls.append("work"), True)
    assert calls == ["work", "wait", "clock", "work", "wait", "clock"]
    calls.clear()
    calibration.seconds_of(torch.device("cpu"), lambda: calls.append("work"), True)
    assert calls == ["work", "clock", "work", "clock"]
    calls.clear()
    calibration.seconds_of(torch.device("cuda"), lambda: calls.append("work"), False)
    assert calls == ["wait", "clock", "work", "wait", "clock"]


def test_the_lines_name_the_choice_and_the_cost(tmp_path):
    lines = plan_lines(SMALL, RunOptions(output=str(tmp_path / "new")), price=3.0, calibrate=True)
    table = {line.split("  ")[0].strip(): line for line in lines}
    assert set(table) >= {"awareness", "masking (exact)", "masking (regression)", "masking (screening)", "all"}
    *_, hours, cost = table["all"].split()
    assert float(cost) == pytest.approx(3 * float(hours), abs=0.01)
    assert not (tmp_path / "new").exists()


def test_without_timing_there_are_no_hours(tmp_path, audited):
    lines = plan_lines(LABELLED, RunOptions(output=str(audited)), price=3.0, calibrate=False)
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
