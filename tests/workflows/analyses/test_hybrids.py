"""Hybrids in an audit: their table against the command, and their partners."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.analyses.hybrids.command import HybridiseCommandOptions
from workflows.analyses.hybrids.partners import partners
from workflows.analyses.hybrids.sheet import run_hybridise
from workflows.commands.options import merged_command
from workflows.folders.verify import verify
from workflows.lab.memo import Memo
from workflows.options.run import RunOptions
from workflows.running.job import Job


@pytest.fixture(scope="module")
def job():
    return Job.open(SMALL, RunOptions())


@pytest.fixture(scope="module")
def table(audited):
    return Manifest.read(audited).table("hybrids")


@pytest.fixture(scope="module")
def samples(audited):
    """Unmasked pictures of the gallery by class and latent."""
    gallery = Manifest.read(audited).table("gallery")
    unmasked = gallery[gallery.kind == "sample"]
    return dict(zip(zip(unmasked.class_id, unmasked["index"], strict=True), unmasked.png, strict=True))


@pytest.fixture(scope="module")
def summary(audited):
    return json.loads((audited / "summary.json").read_text())


def test_partners_are_other_classes_whatever_else_is_audited(job):
    alone = job.with_spec(classes=(3,))
    for class_id in SMALL.classes:
        (drawn,) = partners(job.lab, job.spec, class_id)
        assert drawn in set(range(10)) - {class_id}
        assert partners(job.lab, job.spec, class_id) == partners(alone.lab, alone.spec, class_id) == [drawn]
    many = job.with_spec(hybrid_partners=99)
    assert partners(many.lab, many.spec, 3) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_partners_have_enough_real_images(job, monkeypatch):
    counts = {class_id: 0 if class_id in (4, 5) else 3 if class_id == 6 else 4 for class_id in range(10)}
    monkeypatch.setattr(type(job.lab.reals), "count_of", lambda _, class_id: counts[class_id])
    lab = dataclasses.replace(job.lab, memo=Memo())
    assert partners(lab, dataclasses.replace(job.spec, hybrid_partners=99), 3) == [0, 1, 2, 7, 8, 9]


def test_hybrids_are_those_of_the_command(table, samples, tmp_path):
    rows = table[table.class_id == 8].set_index("kind")
    reference = int(rows.reference_id.iloc[0])
    flags = {"tried_latents": 2, "scored_latents": 4, "latents": 1, "output": str(tmp_path)}
    run_hybridise([8], [reference], *merged_command(HybridiseCommandOptions, None, flags))
    (pair,) = json.loads((tmp_path / "hybrid.json").read_text())["pairs"]
    for kind in ("style_mixing", "channel_mixing"):
        there = pair["mixtures"][kind.replace("_", " ")]
        assert rows.first_site[kind] == there["first_site"]
        assert list(rows.sites[kind]) == [int(site) for site in there["transplants"]]
        assert rows.k[kind] == max(map(len, there["transplants"].values()), default=0)
        for measure in ("input_probability", "reference_probability", "balance", "realism", "harmony"):
            assert rows[measure][kind] == pytest.approx(there[measure]["mean"], rel=1e-5)
            assert rows[f"{measure}_stderr"][kind] == pytest.approx(there[measure]["stderr"], rel=1e-5)
    assert rows.pngs["input"][0] == samples[8, 0]
    assert [len(pngs) for pngs in rows.pngs] == [4] * 4


def test_what_channels_gain_is_the_difference_over_pairs(table, summary):
    means = table.groupby("kind")[["harmony", "balance", "realism"]].mean()
    assert [row["measure"] for row in summary["hybrids"]] == ["harmony", "balance", "realism"]
    for row in summary["hybrids"]:
        assert (row["n_pairs"], row["n_classes"]) == (4, 4)
        assert row["channel_mixing"] == pytest.approx(means[row["measure"]]["channel_mixing"], rel=1e-5)
        assert row["gained"] == pytest.approx(row["channel_mixing"] - row["style_mixing"])


def test_the_report_shows_and_judges_it(audited, summary):
    assert '<section id="hybrids">' in (audited / "report.html").read_text()
    assert "Sec. 5.2, Fig. 7" in [finding["source"] for finding in summary["findings"]]


def test_one_class_alone_has_the_hybrids_of_a_larger_audit(table, tmp_path):
    small_audit(tmp_path / "one", dataclasses.replace(SMALL, classes=(8,), stages=("hybrids", "edits")))
    alone = Manifest.read(tmp_path / "one").table("hybrids")
    among_others = table[table.class_id == 8].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among_others, check_exact=True)
    assert not verify(tmp_path / "one").faults
    assert 'id="hybrids"' in (tmp_path / "one/report.html").read_text()


def test_without_real_images_harmony_is_balance(tmp_path):
    small_audit(tmp_path / "bare", dataclasses.replace(SMALL, classes=(1, 8), stages=("hybrids",), real_images=""))
    found: pd.DataFrame = Manifest.read(tmp_path / "bare").table("hybrids")
    assert found.realism.isna().all()
    np.testing.assert_array_equal(found.harmony, found.balance)
    assert [row["measure"] for row in json.loads((tmp_path / "bare/summary.json").read_text())["hybrids"]] == [
        "harmony",
        "balance",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--hybrid-partners", "0"], "hybrid_partners: input should be greater than or equal to 1; got 0"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    code, printed = run(monkeypatch, capsys, "audit", "--executor", "inline", "--output", tmp_path / "new", *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not (tmp_path / "new").exists()
