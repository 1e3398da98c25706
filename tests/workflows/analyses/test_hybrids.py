"""Hybrids in an audit: their table against the command, and their partners."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cawa_core.segmenters.base import concept_masks
from cawa_core.tables import Manifest, Receipt, publish, rows_of
from cawa_core.worlds.factors import known_factors
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.analyses.hybrids.command import HybridiseCommandOptions
from workflows.analyses.hybrids.factors import (
    chosen_on_others,
    factor_claim,
    factor_summary,
    factor_table,
    mixture_table,
)
from workflows.analyses.hybrids.partners import partners
from workflows.analyses.hybrids.results import KIND_WORDS
from workflows.analyses.hybrids.sheet import run_hybridise
from workflows.commands.options import merged_command
from workflows.folders.verify import verify
from workflows.lab import Lab
from workflows.lab.memo import Memo
from workflows.options.run import RunOptions
from workflows.results.class_resamples import ClassResamples
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
    monkeypatch.setattr(type(job.lab.real_image_set), "count_of", lambda _, class_id: counts[class_id])
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


def test_images_are_counted_by_predicted_class(audited, table):
    predictions = Manifest.read(audited).table("hybrid_predictions")
    pair = ["class_id", "reference_id", "kind"]
    totals = predictions.groupby(pair).n_images.sum()
    assert len(totals) == len(table)
    assert (totals == SMALL.hybrid_scored_latents).all()


def test_images_are_counted_as_the_evaluator_and_the_segmenter_see_them(audited):
    """Of either class; mixtures are those of the same pass."""
    lab = Lab.open(classes=list(SMALL.classes), needs=("evaluator", "segmenter"), segmenter="garment-parts")
    tried, scored = SMALL.hybrid_tried_latents, SMALL.hybrid_scored_latents
    rows = {name: Manifest.read(audited).table(name) for name in ("hybrid_predictions", "hybrid_concepts")}
    for (class_id, reference_id), concepts in rows["hybrid_concepts"].groupby(["class_id", "reference_id"]):
        z = lab.latents(class_id, tried + scored)[tried:]
        images = {"input": lab.images(class_id, z)[0], "reference": lab.images(reference_id, z)[0]}
        for kind, pictures in images.items():
            predicted = lab.evaluator.log_probabilities(pictures).argmax(dim=1).numpy()
            of_pair = rows["hybrid_predictions"].query(f"class_id == {class_id} and reference_id == {reference_id}")
            counts = of_pair[of_pair.kind == kind].set_index("predicted_class").n_images
            assert counts.to_dict() == pd.Series(predicted).value_counts().to_dict()
        masks = {kind: concept_masks(lab.segmenter, pictures[:tried]) for kind, pictures in images.items()}
        shared = (masks["input"] & masks["reference"]).sum(dim=(0, 2, 3))
        found = concepts.set_index(["kind", "concept"])
        assert (found.n_samples == tried).all()
        for place, concept in enumerate(lab.segmenter.concepts):
            row = found.loc["input", concept]
            assert row.pixels == row.input_pixels == row.input_shared == masks["input"][:, place].sum()
            assert row.reference_pixels == masks["reference"][:, place].sum()
            assert row.reference_shared == found.input_shared["reference", concept] == shared[place]
        limits = np.minimum(found[["input_pixels", "reference_pixels"]].to_numpy(), found[["pixels"]].to_numpy())
        assert (found[["input_shared", "reference_shared"]].to_numpy() <= limits).all()


PAIRS = ((0, 7), (0, 1), (1, 14), (2, 9), (3, 10), (4, 11), (5, 6))
"""Classes of the world ``scenes`` and their references; all pairs but the second differ in building and place."""
CROSSED = {(0, 7): (1, 6), (1, 14): (2, 13), (2, 9): (3, 8), (3, 10): (4, 9), (4, 11): (5, 10), (5, 6): (0, 11)}
"""Class with the input's building and the reference's place, and class with the reverse."""


def planted_predictions(folder, crossed, reverse, other):
    """Write predictions for ten images per pair and kind; of channel mixing, these numbers are of the other classes.

    They are those of the most harmonious mixture, and at site 1 of the mixtures tried; at site 2, there are only images
    of the input class.
    """
    manifest = Manifest.read(folder)
    predictions, mixtures = [], []
    for pair in PAIRS:
        first, second = CROSSED.get(pair, (20, 20))
        mixed = {first: crossed, second: reverse, 29: other, pair[0]: 10 - crossed - reverse - other}
        unmixed = {"input": {pair[0]: 10}, "reference": {pair[1]: 10}}
        mixed_by_kind = {"style_mixing": {pair[1]: 10}, "channel_mixing": mixed}
        key = {"class_id": pair[0], "reference_id": pair[1]}
        predictions += rows_of_counts(key, unmixed | mixed_by_kind)
        for site, counts in ((1, mixed_by_kind), (2, {kind: {pair[0]: 10} for kind in mixed_by_kind})):
            mixtures += [{**row, "first_site": site, "k": 4} for row in rows_of_counts(key, counts)]
    tables = {"hybrid_predictions": predictions, "hybrid_mixtures": mixtures}
    files = publish(folder, "x", {name: rows_of(name, rows) for name, rows in tables.items()}, "audit")
    manifest.add(Receipt("x", "hybrids", tuple(sorted({pair[0] for pair in PAIRS})), (), files, 0, "cpu"))
    return manifest


def rows_of_counts(key, counts_by_kind):
    return [
        {**key, "kind": kind, "predicted_class": predicted, "n_images": n}
        for kind, counts in counts_by_kind.items()
        for predicted, n in counts.items()
        if n
    ]


def test_factors_of_planted_hybrids_are_found(tmp_path):
    manifest = planted_predictions(tmp_path, crossed=6, reverse=2, other=1)
    entry = factor_summary(manifest, known_factors("scenes"), ClassResamples(0, 50))
    assert (entry["n_pairs"], entry["n_classes"], entry["factors"]) == (6, 6, ["building", "place"])
    shares = {row["combination"]: row["share"] for row in entry["shares"] if row["kind"] == "channel_mixing"}
    assert shares == pytest.approx(
        {
            "building of the input, place of the input": 0.1,
            "building of the input, place of the reference": 0.6,
            "building of the reference, place of the input": 0.2,
            "building of the reference, place of the reference": 0,
            "other": 0.1,
        }
    )
    by_mixture = {(row["kind"], row["first_site"]): row["crossed"] for row in entry["mixtures"]}
    assert by_mixture == pytest.approx(
        {("channel_mixing", 1): 0.8, ("channel_mixing", 2): 0, ("style_mixing", 1): 0, ("style_mixing", 2): 0}
    )
    style, channels = entry["crossed"]
    assert (style["kind"], style["crossed"], style["unmixed"]) == ("style_mixing", 0, 0)
    assert (channels["crossed"], channels["harmonious"]) == pytest.approx((0.8, 0.8))
    claim = factor_claim(entry, {}, KIND_WORDS)
    assert claim.verdict == "holds in part"
    assert claim.claim == "Hybrids combine the building of one class with the place of the other."
    assert "0% by style mixing" in claim.evidence
    assert "80% by channel mixing" in claim.evidence
    assert len(mixture_table(entry, KIND_WORDS).rows) == 4


def test_hybrids_that_combine_no_factors_are_no_evidence(tmp_path):
    manifest = planted_predictions(tmp_path, crossed=0, reverse=0, other=5)
    entry = factor_summary(manifest, known_factors("scenes"), ClassResamples(0, 50))
    assert factor_claim(entry, {}, KIND_WORDS).verdict == "does not hold"
    table = factor_table(entry, KIND_WORDS)
    assert [row[-1].text for row in table.rows] == ["0.000", "0.000", "0.000", "0.500"]


def test_a_class_has_no_part_in_the_choice_of_its_mixture():
    shares = pd.DataFrame({0: [0.9, 0.5, 0.0], 1: [0.1, 0.6, 0.0], 2: [0.2, 0.4, 0.0]})
    assert chosen_on_others(shares).to_dict() == {0: 0.5, 1: 0.1, 2: 0.4}
    assert chosen_on_others(shares[[0]]).isna().all()


def test_without_hybrids_nothing_is_said_about_factors(tmp_path):
    assert factor_summary(Manifest.read(tmp_path), known_factors("scenes"), ClassResamples(0, 50)) is None


def test_every_mixture_is_counted_on_the_latents_that_choose(audited, table):
    mixtures = Manifest.read(audited).table("hybrid_mixtures")
    totals = mixtures.groupby(["class_id", "reference_id", "kind", "first_site", "k"]).n_images.sum()
    assert (totals == SMALL.hybrid_tried_latents).all()
    best = table[table.kind.isin(["style_mixing", "channel_mixing"])]
    assert set(zip(best.class_id, best.reference_id, best.kind, best.first_site, best.k, strict=True)) <= set(
        totals.index
    )


def test_regions_of_concepts_are_summarised(audited, summary):
    concepts = Manifest.read(audited).table("hybrid_concepts")
    concepts["iou"] = concepts.input_shared / (concepts.pixels + concepts.input_pixels - concepts.input_shared)
    by_class = concepts.groupby(["kind", "concept", "class_id"]).iou.mean()
    for row in summary["hybrid_concepts"]:
        assert row["input_iou"] == pytest.approx(by_class[row["kind"], row["concept"]].mean())
    assert summary["hybrid_factors"] is None
    assert "Regions of concepts in hybrids, means over classes" in (audited / "report.html").read_text()


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
    small_audit(tmp_path / "one", dataclasses.replace(SMALL, classes=(8,), stages=("hybrids", "edits")), report=True)
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
