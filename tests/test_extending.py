"""The examples of ``docs/extending.md``: packages outside the tree, known by their entry points alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import workflows.analyses  # noqa: F401  # declares the tables
from cawa_core.tables import Manifest

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```(?:python|toml)\n# (\S+)\n(.*?)```", re.DOTALL)
AUDIT = ("--stages", "awareness,brightness", "--awareness-samples", 50, "--permutations", 20, "--bootstraps", 20)
UNITS_PER_CLASS = 3


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The page's package, installed: its modules, and the metadata that pip writes from its pyproject.toml."""
    root = tmp_path_factory.mktemp("site-packages")
    for name, content in BLOCK.findall((ROOT / "docs/extending.md").read_text()):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    metadata = root / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return root


def environment(*paths):
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))), "OMP_NUM_THREADS": "1"}


def cawa(package, *arguments, code=0, start=False):
    """Run the command line with the package installed; without it if there is none."""
    command = [sys.executable, "-m", "workflows", *map(str, arguments)]
    place = {"env": environment(*([package] if package else [])), "cwd": "/", "text": True}
    if start:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **place)
    done = subprocess.run(command, capture_output=True, timeout=300, check=False, **place)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def audited(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audits") / "inline"
    cawa(package, "audit", *AUDIT, "--classes", "0,1,2", "--executor", "inline", "--output", folder)
    return folder


def rows(folder):
    """The rows of the package's table, read without the package."""
    import pyarrow.dataset as ds

    frame = ds.dataset(Path(folder) / "tables/brightness", format="parquet").to_table().to_pandas()
    return frame.sort_values(["class_id", "repeat"], ignore_index=True)


def covered(folder):
    return len(Manifest.read(folder).covered("brightness"))


def test_the_analysis_is_in_the_help(package):
    assert re.search(r"brightness +Print how bright", cawa(package, "--help"))
    text = cawa(package, "audit", "--help")
    assert "Brightness" in text
    assert "--brightness-repeats" in text
    assert "brightness" not in cawa(None, "--help")


def test_the_analysis_is_planned(package, tmp_path):
    printed = cawa(package, "plan", *AUDIT, "--classes", "0,1,2", "--no-calibrate", "--output", tmp_path / "a")
    assert re.search(r"^brightness +9 +72 +9 ", printed, re.MULTILINE), printed


def test_the_analysis_is_computed(audited, package):
    table = rows(audited)
    assert list(zip(table.class_id, table.repeat, strict=True)) == [(c, r) for c in range(3) for r in range(3)]
    assert table.brightness.between(0, 1).all()
    assert table.png[0].startswith(b"\x89PNG")
    assert "brightness: 9 of 9 repeats done" in cawa(package, "status", audited)
    assert "0 faults" in cawa(package, "verify", audited)
    summary = json.loads((audited / "summary.json").read_text())
    assert summary["brightness"]["1"] == pytest.approx(table[table.class_id == 1].brightness.mean())
    verdicts = {claim["claim"]: claim["verdict"] for claim in summary["findings"]}
    assert verdicts["All classes are dark."] == (
        "holds" if max(summary["brightness"].values()) < 0.5 else "does not hold"
    )
    page = (audited / "report.html").read_text()
    assert 'id="brightness"' in page
    assert "The brightest image of each repeat" in page


def test_files_are_recorded_and_verified(audited, package, tmp_path):
    content = [np.load(io) for _, io in _files(audited)]
    assert len(content) == 9
    assert all(mean.shape == (1, 1, 28, 28) for mean in content)
    damaged = shutil.copytree(audited, tmp_path / "damaged")
    file = next((damaged / "files/brightness").iterdir())
    file.write_bytes(b"damaged")
    assert re.search(r"damaged files/brightness/\S+mean_pictures.npy", cawa(package, "verify", damaged, code=1))
    file.unlink()
    assert "missing files/brightness" in cawa(package, "verify", damaged, code=1)
    printed = cawa(package, "audit", *AUDIT, "--classes", "0,1,2", "--executor", "inline", "--output", damaged)
    assert "1 shard computed, " in printed
    assert "0 faults" in cawa(package, "verify", damaged)


def _files(folder):
    import io

    return [
        (receipt, io.BytesIO(data)) for receipt, data in Manifest.read(folder).file("brightness", "mean_pictures.npy")
    ]


def test_the_analysis_resumes_on_ray_after_a_kill(audited, package, tmp_path):
    """Killed without warning in the middle: what is finished stays, what is missing is computed, all is equal."""
    folder = tmp_path / "ray"
    on_ray = ("--executor", "ray", "--workers", 1, "--no-report", "--output", folder)
    slow = ("audit", *AUDIT, "--classes", "0,1,2", *on_ray, "--brightness-latents", 8)
    driver = cawa(package, *slow, start=True)
    while driver.poll() is None and not (folder.exists() and covered_so_far(folder) >= 2):
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = covered_so_far(folder)
    assert before >= 2
    printed = cawa(package, *slow)
    assert covered(folder) == 9
    if before < 9:
        assert "nothing to compute" not in printed
    assert rows(folder).equals(rows(audited))
    assert "0 faults" in cawa(package, "verify", folder)


def covered_so_far(folder):
    return covered(folder) if (folder / "audit.json").exists() else 0


def test_the_analysis_grows_and_is_replaced(package, audited, tmp_path):
    folder = tmp_path / "grown"
    inline = ("--executor", "inline", "--no-report", "--output", folder)
    cawa(package, "audit", *AUDIT, "--classes", "0", *inline)
    printed = cawa(package, "audit", *AUDIT, "--classes", "0,1,2", *inline)
    assert "computed, " in printed
    assert rows(folder).equals(rows(audited))
    more = ("--brightness-latents", 16)
    refused = cawa(package, "audit", *AUDIT, *more, "--classes", "0,1,2", *inline, code=2)
    assert "--replace brightness computes it again (3 classes, about 144 generator passes)" in refused
    cawa(package, "audit", *AUDIT, *more, "--classes", "0,1,2", *inline, "--replace", "brightness")
    assert (rows(folder).brightness != rows(audited).brightness).all()
    assert covered(folder) == 9


def test_the_analysis_is_compared(package, audited, tmp_path):
    other = tmp_path / "other"
    inline = ("--executor", "inline", "--no-report", "--output", other)
    cawa(package, "audit", *AUDIT, "--classes", "0,1,2", "--seed", 1, *inline)
    cawa(package, "compare", audited, other, "--output", tmp_path / "comparison")
    content = json.loads((tmp_path / "comparison/compare.json").read_text())
    assert content["brightness"][0]["base"] == pytest.approx(rows(audited)[lambda t: t.class_id == 0].brightness.mean())
    assert "Neither direction is worse." in (tmp_path / "comparison/compare.html").read_text()
    assert "## Brightness" in (tmp_path / "comparison/compare.md").read_text()
    assert "nothing moved" in cawa(package, "compare", audited, audited, "--output", tmp_path / "same")


def test_the_command_of_the_analysis(package):
    printed = cawa(package, "brightness", "--classes", "0,trouser", "--latents", 4)
    assert re.fullmatch(r"T-shirt/top: 0\.\d{3}\ntrouser: 0\.\d{3}\n", printed)
    assert "no class is named 'nothing'" in cawa(package, "brightness", "--classes", "nothing", code=2)


def test_a_folder_outlives_the_package(audited, tmp_path):
    """Without the package, nothing is lost or hidden, and other analyses go their way."""
    folder = shutil.copytree(audited, tmp_path / "left")
    assert "brightness: 9 of 9 repeats done" in cawa(None, "status", folder)
    printed = cawa(None, "verify", folder, code=1)
    assert printed.count("unknown tables/brightness") == 9
    cawa(None, "report", folder)
    stages = ("--stages", "awareness", *AUDIT[2:])
    cawa(None, "audit", *stages, "--classes", "0,1,2,3", "--executor", "inline", "--output", folder)
    assert json.loads((folder / "audit.json").read_text())["analyses"]["brightness"]["n_units"] == 9
    assert rows(folder).equals(rows(audited))


CONTRAST = """
from cawa_core.tables import rows_of
from cawa_core.tables.schema import CLASS, F32, Table
from workflows.interface import Analysis, Cost, Output, Work

CONTRAST_TABLE = Table("contrast", ("class_id",), {**CLASS, "range": (F32, "range of the brightness over repeats")})
CONTRAST = Analysis(
    "contrast", "Contrast", tables=(CONTRAST_TABLE,), after=("brightness",), work="cawa_contrast:ContrastWork",
    not_compared="it is an example",
)


class ContrastWork(Work):
    def run(self, lab, options, shard, earlier):
        brightness = earlier.table("brightness").groupby("class_id").brightness
        ranges = brightness.max() - brightness.min()
        rows = [{"class_id": class_id, "range": ranges[class_id]} for class_id in shard.class_ids]
        return Output({"contrast": rows_of("contrast", rows)})

    def cost(self, lab, options, class_id, unit):
        return Cost(1.0, 1)
"""


def test_an_analysis_reads_what_another_wrote(package, tmp_path):
    """It is computed later, refused without what it reads, and replaced with it."""
    both = shutil.copytree(package, tmp_path / "packages")
    (both / "cawa_contrast.py").write_text(CONTRAST)
    metadata = both / "cawa_contrast-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cawa-contrast\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[cawa.analyses]\ncontrast = cawa_contrast:CONTRAST\n")
    folder = tmp_path / "audit"
    common = ("--classes", "0,1", "--executor", "inline", "--no-report", "--output", folder)

    def ranges():
        table = rows(folder).groupby("class_id").brightness
        written = Manifest.read(folder).receipts["contrast-c0000-0000"].files[0].file
        import pyarrow.parquet as pq

        return pq.read_table(folder / written)["range"][0].as_py(), (table.max() - table.min())[0]

    refused = cawa(both, "audit", "--stages", "contrast", *common, code=2)
    assert "stage contrast reads the results of brightness; add brightness to --stages" in refused
    cawa(both, "audit", "--stages", "contrast,brightness", *common)
    written, expected = ranges()
    assert written == pytest.approx(expected, rel=1e-6)
    more = ("--brightness-latents", 16)
    refused = cawa(both, "audit", "--stages", "contrast", *more, *common, code=2)
    assert "which the folder has with other options" in refused
    refused = cawa(both, "audit", "--stages", "brightness", *more, *common, "--replace", "brightness", code=2)
    assert "contrast in the folder reads the results of brightness; add contrast to --stages" in refused
    cawa(both, "audit", "--stages", "contrast,brightness", *more, *common, "--replace", "brightness")
    before = written
    written, expected = ranges()
    assert written == pytest.approx(expected, rel=1e-6)
    assert written != before
    assert "0 faults" in cawa(both, "verify", folder)


def test_a_class_metric_is_one_record(package, tmp_path):
    """The record of the page, added to the list as an edit of the list would."""
    (tmp_path / "sitecustomize.py").write_text(
        "from cawa_core.class_metrics import records\n"
        "from similarity_gap import SIMILARITY_GAP\n"
        "records.METRICS += (SIMILARITY_GAP,)\n"
    )
    folder = tmp_path / "audit"
    small = ("--metric-samples", 40, "--ms-ssim-samples", 5, "--permutations", 20, "--bootstraps", 20)
    command = ["audit", "--stages", "class_metrics", "--classes", "0,1,2", *small, "--executor", "inline"]
    env = environment(tmp_path, package)
    run = [sys.executable, "-m", "workflows"]
    done = subprocess.run([*run, *map(str, (*command, "--output", folder))], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import pyarrow.dataset as ds

    table = ds.dataset(folder / "tables/class_metrics", format="parquet").to_table().to_pandas()
    assert table.similarity_gap.tolist() == pytest.approx((table.ms_ssim - 0.5).abs().tolist(), abs=1e-6)
    assert "similarity gap" in (folder / "report.html").read_text()
    assert "similarity_gap" in json.loads((folder / "summary.json").read_text())["class_metrics"]
    help_text = subprocess.run([*run, "compare", "--help"], env=env, capture_output=True, text=True).stdout
    assert "--similarity-gap-rise" in help_text


def test_an_evaluator_is_a_factory(package, tmp_path):
    small = ("--masking-latents", 8, "--exact-latents", 8, "--masking-group-size", 64, "--control-latents", 2)
    arguments = ("--evaluator", "tiny_evaluator:tiny", "--real-images", "", "--classes", "0", "--stages", "masking")
    cawa(package, "audit", *arguments, *small, "--executor", "inline", "--no-report", "--output", tmp_path / "a")
    assert set(Manifest.read(tmp_path / "a").table("masking").protocol.str.partition(";")[0]) == {"tiny, 28 px"}


def test_a_notebook_opens_the_lab(package):
    done = subprocess.run(
        [sys.executable, package / "notebook.py"], env=environment(), capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"0\.\d{3} falls to 0\.\d{3}\n", done.stdout)
