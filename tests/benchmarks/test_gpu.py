"""The script that checks and measures a GPU, rehearsed on the CPU."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.gpu.launches import calls_of, fake_cuda, masking_calls
from benchmarks.gpu.profiling import covered, seconds_alone
from benchmarks.gpu.results import Check, Findings, Recorder, StepRecord, as_markdown
from benchmarks.gpu.script import STEPS, Step, main, run_steps
from benchmarks.gpu.session import SMALL, Session, spread
from benchmarks.masking import bundled
from cawa_core.masking.screening import Screening

CPU = torch.device("cpu")


def session(tmp_path, seconds=60.0):
    return Session(CPU, SMALL, tmp_path, time.monotonic() + seconds)


def script(*arguments):
    return [sys.executable, "-m", "benchmarks", "gpu", *map(str, arguments)]


def test_masking_waits_once_for_each_batch_of_latents():
    """Before masks were copied to the device together, the host waited three times in every pass."""
    calls = masking_calls(*bundled(), latents=40, masks=12, batch=40, sites=(0, 5))
    assert [one.waits for one in calls.values()] == [4, 4]  # a batch has room for ten latents under four masks
    assert [one.by_operator["_log_softmax"] for one in calls.values()] == [16, 16]
    assert calls[5].launches < calls[0].launches
    more = masking_calls(*bundled(), latents=8, masks=80, batch=80, sites=(5,))  # of 64 channels
    assert more[5].waits == 1


def test_reading_screening_off_for_all_masks_of_a_site_waits_for_nothing():
    """Before, every mask was an index by a list, which waits. A pass back cannot run on fake tensors without a GPU."""
    with fake_cuda():
        screening = Screening(torch.empty(8, device="cuda"), (torch.empty(8, 30, device="cuda"),))
        calls = calls_of(lambda: screening.log_scores(0, [(channel, channel + 1) for channel in range(29)]))
    assert calls.waits == 0
    assert calls.launches < 29


def test_a_wait_is_counted():
    with fake_cuda():
        values = torch.empty(4, device="cuda")
        assert calls_of(lambda: values.sum().cpu()).waits == 1
        assert calls_of(lambda: values[[0, 2]]).waits == 1
        assert calls_of(lambda: torch.tensor([1.0, 2.0], device="cuda")).waits == 1
        assert calls_of(lambda: values * 2).waits == 0


def test_overlapping_intervals_count_once():
    assert covered([(0, 2), (1, 3), (5, 6), (5.5, 5.7)]) == 4
    assert covered([]) == 0


def test_convolutions_are_found_and_timed_alone():
    layer = torch.nn.Conv2d(2, 3, 3)
    assert seconds_alone(CPU, lambda: layer(torch.ones(1, 2, 8, 8)), 1) > 0
    assert seconds_alone(CPU, lambda: torch.ones(2) + 1, 1) == 0


def test_places_are_spread_over_all_sites():
    assert spread(3, 40) == [0, 20, 39]
    assert spread(6, 2) == [0, 1]


@pytest.mark.parametrize(
    ("value", "at_least", "holds"),
    [
        (0.5, False, True),
        (1.5, False, False),
        (1.5, True, True),
        (float("nan"), False, False),
        (float("nan"), True, False),
    ],
)
def test_bounds(value, at_least, holds):
    assert Check("x", value, 1.0, at_least).holds == holds


def test_every_step_is_recorded_whatever_becomes_of_it(tmp_path):
    path = tmp_path / "deep" / "gpu.json"
    seen = {}

    def good(_):
        seen["meanwhile"] = json.loads(path.read_text())
        return Findings((Check("error", 0.1, 1.0), Check("share", float("nan"), 0.5, True)), {"seconds": float("inf")})

    def broken(_):
        raise ValueError("two lines\nthe last")

    def large(_):
        raise torch.OutOfMemoryError("too large")

    steps = [Step("good", good, (1, 1)), Step("broken", broken, (1, 1)), Step("large", large, (1, 1))]
    steps.append(Step("long", good, (1, 1000)))
    records = run_steps(session(tmp_path), steps, path)
    assert [record.status for record in records] == ["done", "failed", "skipped", "skipped"]
    assert [record.holds for record in records] == [False, False, True, True]
    assert [step["status"] for step in seen["meanwhile"]["steps"]] == ["running"]
    content = json.loads(path.read_text())
    assert content["complete"]
    assert content["machine"]["torch"] == torch.__version__
    good_step, broken_step, large_step, long_step = content["steps"]
    assert [check["holds"] for check in good_step["checks"]] == [True, False]
    assert (good_step["checks"][1]["value"], good_step["figures"]["seconds"]) == (None, None)
    assert broken_step["reason"] == "ValueError: the last"
    assert large_step["reason"] == "out of memory: too large"
    assert long_step["reason"].startswith("needs about 1000 s; ")
    lines = as_markdown(content).splitlines()
    assert "| good | share | none | at least 0.5, **missed** |" in lines
    assert "| good | error | 0.1 | at most 1 |" in lines
    assert "- broken: failed, ValueError: the last" in lines


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(tmp_path):
    recorder = Recorder(tmp_path / "gpu.json", {})
    recorder.begin("x")
    with pytest.raises(TypeError):
        recorder.end(StepRecord("x", "done", findings=Findings((), {"figure": object()})))
    assert json.loads((tmp_path / "gpu.json").read_text())["steps"][0]["status"] == "running"


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_what_it_had(tmp_path):
    out = tmp_path / "gpu.json"
    steps = ("screening twice", "biggan", "memory cap", "layouts")
    with subprocess.Popen(script(*steps, "--device", "cpu", "--out", out), stdout=subprocess.DEVNULL) as process:
        statuses = []
        while process.poll() is None and statuses[:1] != ["done"]:
            time.sleep(0.2)
            statuses = [step["status"] for step in json.loads(out.read_text())["steps"]] if out.exists() else []
        process.send_signal(signal.SIGKILL)
    content = json.loads(out.read_text())
    assert not content["complete"]
    assert content["steps"][0]["status"] == "done"
    assert content["steps"][0]["checks"]
    assert content["steps"][-1]["status"] in ("running", "done")
    assert len(content["steps"]) < len(steps)


@pytest.mark.slow
def test_the_rehearsal_holds_on_the_cpu(tmp_path):
    """The quicker steps; all of them are what ``python -m benchmarks gpu --device cpu`` runs."""
    quick = ("memory cap", "masks fashion-biggan")
    run = subprocess.run(
        script(*quick, "--device", "cpu", "--out", tmp_path / "gpu.json"), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert [step["status"] for step in content["steps"]] == ["done"] * len(quick)
    assert (content["sizes"], content["complete"]) == ("small", True)
    values = {check["name"]: check["value"] for check in content["steps"][0]["checks"]}
    assert 0 <= values["largest relative change of a log score"] < 1e-5
    assert values["images per pass under the cap, of a batch before it"] < 1
    figures = content["steps"][1]["figures"]
    assert figures["float32: passes a second"] > 1
    assert figures["float32: largest difference of a probability"] < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "cuda"), "--device 'cuda' is not on this machine; use --device cpu"),
        (("--device", "tpu"), "--device must be cpu, cuda or cuda:N; got 'tpu'"),
        (("--device", "cpu", "--minutes", "0"), "--minutes must be above 0; got 0"),
        (("--device", "cpu", "speed"), "STEP must be among launches, audit, .*; got 'speed'"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    if arguments == ("--device", "cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_names_of_steps_are_different():
    assert len({step.name for step in STEPS}) == len(STEPS)
