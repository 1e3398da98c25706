"""A folder grows by classes and stages, and replaces results: it ends as one that was made at once."""

import dataclasses
import multiprocessing
import os
from uuid import uuid4

import pandas as pd
import pytest

from cawa_core.errors import InputError
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from cawa_core.tables.parquet import TABLES_FOLDER
from tests.object_store import BUCKET
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.folders.folder import read_audit
from workflows.folders.status import status_lines
from workflows.folders.verify import verify
from workflows.running import audit as audits
from workflows.running.execution import execute

STAGES = ("awareness", "masking", "class_metrics", "gallery", "hybrids")
TINY = dataclasses.replace(SMALL, masking_group_size=32, metric_samples=20, ms_ssim_samples=4, stages=STAGES)
ALL = dataclasses.replace(TINY, classes=(1, 3, 8))
N_SITES = 6
UNITS = {"awareness": N_SITES, "masking": N_SITES, "class_metrics": 1, "gallery": 1, "hybrids": 1}


def part(*classes, stages=STAGES, **changes):
    return dataclasses.replace(TINY, classes=classes, stages=stages, **changes)


def units(folder):
    """(stage, class, site) of every recorded unit, with when and where it was computed."""
    found = {}
    for receipt in Manifest.read(folder).receipts.values():
        for class_id in receipt.class_ids:
            for site in receipt.sites or (-1,):
                found[receipt.stage, class_id, site] = receipt
    return found


def tables(folder):
    manifest = Manifest.read(folder)
    return {name: manifest.table(name) for name in sorted({file.split("/")[1] for file in manifest.owned})}


def assert_same_tables(folder, expected):
    found = tables(folder)
    assert found.keys() == expected.keys()
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(found[name], frame, check_exact=True)
    assert verify(folder).faults == ()


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """Tables of three classes and all stages, made in one run."""
    folder = tmp_path_factory.mktemp("at once") / "audit"
    small_audit(folder, ALL)
    return tables(folder)


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "audit")
    request.getfixturevalue("proxy")
    return f"s3://{BUCKET}/{uuid4().hex}/audit"


class Interrupted(BaseException):
    """As Ctrl-C: no shard's failure."""


@pytest.fixture
def interrupt_after(monkeypatch):
    """Interrupt an inline audit after some shards."""

    def after(count):
        left = [count]

        def counted(job, storage, shard):
            if not left[0]:
                raise Interrupted
            left[0] -= 1
            return execute(job, storage, shard)

        monkeypatch.setattr("workflows.executors.inline.execute", counted)

    return after


def test_classes_and_stages_are_added_and_nothing_is_computed_twice(place, at_once, interrupt_after):
    """3 classes out of 1, stage after stage, each step interrupted half-way and resumed."""
    steps = [
        part(3, stages=("awareness",)),
        part(3, stages=("awareness", "masking")),
        part(1, 8, stages=("masking", "awareness")),
        part(1, 3, 8, stages=("class_metrics", "gallery")),
        part(1, 3, 8),
    ]
    before = {}
    for step in steps:
        interrupt_after(1)
        with pytest.raises(Interrupted):
            small_audit(place, step)
        interrupt_after(10**6)
        small_audit(place, step)
        now = units(place)
        assert now.items() >= before.items()
        wanted = {(stage, class_id) for stage in step.stages for class_id in step.classes}
        assert {(stage, class_id) for stage, class_id, _ in now} >= wanted
        before = now
    counts = {stage: sum(unit[0] == stage for unit in before) for stage in STAGES}
    assert counts == {stage: 3 * each for stage, each in UNITS.items()}
    assert_same_tables(place, at_once)
    record = read_audit(place)
    assert record.class_ids == [1, 3, 8]
    assert {stage: analysis.class_ids for stage, analysis in record.analyses.items()} == dict.fromkeys(
        STAGES, (1, 3, 8)
    )
    assert small_audit(place, ALL).computed == 0


def test_classes_need_not_have_the_same_stages(tmp_path):
    """Each stage is complete by its own classes: status and verify ask for no more."""
    small_audit(tmp_path, part(1, 8, stages=("awareness",)))
    small_audit(tmp_path, part(8, stages=("masking", "class_metrics")), report=True)
    assert verify(tmp_path).faults == ()
    lines = status_lines(tmp_path)
    assert any(line.startswith("awareness: 12 of 12 class-site pairs done") for line in lines)
    assert any(line.startswith("masking: 6 of 6 class-site pairs done") for line in lines)
    assert (tmp_path / "report.html").exists()


def test_what_is_about_another_subject_is_refused(tmp_path):
    small_audit(tmp_path, part(1, stages=("awareness",)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for changes, message in (
        ({"seed": 5}, "seed 0 there, 5 now"),
        ({"truncation": 0.5}, "truncation 1.0 there, 0.5 now"),
        ({"dtype": "bfloat16"}, "dtype 'float32' there, 'bfloat16' now"),
    ):
        with pytest.raises(InputError, match=f"another subject: .*{message}.*Choose another --output"):
            small_audit(tmp_path, part(1, stages=("awareness",), **changes))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_changed_options_are_refused_with_what_they_would_cost(monkeypatch, capsys, tmp_path):
    small_audit(tmp_path, part(1, 8, stages=("awareness", "masking")))
    with pytest.raises(InputError) as caught:
        small_audit(tmp_path, part(8, stages=("awareness", "masking"), masking_latents=6, control_latents=2))
    assert str(caught.value).startswith(
        f"{tmp_path} has masking with other options: masking_latents 4 there, 6 now; control_latents 4 there, 2 now. "
        "--replace masking computes it again (2 classes, about "
    )
    assert str(caught.value).endswith("generator passes); or choose another --output")
    # options of a stage that is not asked for, and of one that the folder lacks, change nothing
    assert small_audit(tmp_path, part(8, stages=("awareness",), masking_latents=6)).computed == 0
    code, printed = run(
        monkeypatch, capsys, "audit", "--output", tmp_path, "--replace", "maskin", "--executor", "inline"
    )
    assert code == 2
    assert "replace must be among" in printed.err


def test_replaced_results_are_those_of_the_new_options(place, interrupt_after):
    """The old ones stay, and are what tables show, until the new ones are complete."""
    stages = ("awareness", "masking")
    small_audit(place, part(1, 3, 8, stages=stages))
    old = tables(place)
    new = part(8, stages=stages, masking_latents=6)
    interrupt_after(3)
    with pytest.raises(Interrupted):
        small_audit(place, new, replace=("masking",))
    assert_same_tables(place, old)
    storage = open_storage(place)
    assert any("masking: replacement, 3 of 18 class-site pairs done" in line for line in status_lines(place))
    interrupt_after(10**6)
    assert small_audit(place, part(1, 3, 8, stages=stages)).computed == 0  # the old options are still there
    assert small_audit(place, new, replace=("masking",)).computed == 15
    fresh = f"{place}-fresh"
    small_audit(fresh, part(1, 3, 8, stages=stages, masking_latents=6))
    assert_same_tables(place, tables(fresh))
    assert read_audit(place).replacing == {}
    assert len(storage.names(TABLES_FOLDER)) == len(Manifest.read(place).owned)
    assert small_audit(place, part(1, 3, 8, stages=stages, masking_latents=6)).computed == 0


def test_two_analyses_are_replaced_at_once(tmp_path, interrupt_after):
    stages = ("awareness", "masking")
    small_audit(tmp_path, part(1, stages=stages))
    new = part(1, stages=stages, masking_latents=6, awareness_samples=70)
    interrupt_after(8)
    with pytest.raises(Interrupted):
        small_audit(tmp_path, new, replace=stages)
    interrupt_after(10**6)
    assert small_audit(tmp_path, new, replace=stages).computed == 4
    small_audit(tmp_path / "fresh", new)
    assert_same_tables(tmp_path, tables(tmp_path / "fresh"))
    assert read_audit(tmp_path).replacing == {}


def test_a_driver_killed_between_putting_in_place_and_saying_so(tmp_path, monkeypatch):
    stages = ("awareness", "masking")
    small_audit(tmp_path, part(1, stages=stages))
    new = part(1, stages=stages, masking_latents=6)

    def killed(*_):
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(audits, "write_audit", killed)
        with pytest.raises(Interrupted):
            small_audit(tmp_path, new, replace=("masking",))
    assert small_audit(tmp_path, new).computed == 0
    assert read_audit(tmp_path).analyses["masking"].options["masking_latents"] == 6
    assert verify(tmp_path).faults == ()


def test_a_replacement_given_up_for_another_leaves_nothing(tmp_path, interrupt_after):
    stages = ("awareness", "masking")
    small_audit(tmp_path, part(1, stages=stages))
    interrupt_after(2)
    with pytest.raises(Interrupted):
        small_audit(tmp_path, part(1, stages=stages, masking_latents=6), replace=("masking",))
    interrupt_after(10**6)
    small_audit(tmp_path, part(1, stages=stages, masking_latents=5), replace=("masking",))
    assert Manifest.read(tmp_path).replacements == {}
    assert len(list(tmp_path.glob("tables/*/*"))) == len(Manifest.read(tmp_path).owned)
    assert verify(tmp_path).faults == ()


def test_options_of_the_report_change_derived_tables_alone(tmp_path):
    spec = part(1, 3, 8, stages=("awareness",), overlap_k=(10,))
    small_audit(tmp_path, spec)
    before = units(tmp_path)
    result = small_audit(tmp_path, dataclasses.replace(spec, overlap_k=(5,)))
    assert (result.computed, result.refreshed) == (0, True)
    assert units(tmp_path) == before
    assert set(Manifest.read(tmp_path).table("class_overlap").k) == {5}


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_driver_and_ray_grow_a_folder_alike(tmp_path, at_once):
    """SIGKILL of a driver on Ray while a folder grows; then inline."""
    folder = tmp_path / "audit"
    small_audit(folder, part(3, stages=("awareness", "masking")))
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_grow_on_ray, args=(str(folder), dict(os.environ)))
    process.start()
    process.join(25)
    process.kill()
    process.join()
    small_audit(folder, ALL)
    assert_same_tables(folder, at_once)


def _grow_on_ray(folder, environment):
    os.environ.update(environment)
    small_audit(folder, ALL, executor="ray", workers=1)
