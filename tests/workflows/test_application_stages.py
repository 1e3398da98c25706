"""Segmentation, hybrids and edits as stages: their tables against the commands and the pictures."""

import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from workflows.applications.hybridise import run_hybridise
from workflows.applications.options import HybridSpec, SegmentSpec, merged_application
from workflows.applications.segment import run_segment
from workflows.stages.awareness import class_awareness
from workflows.stages.edits import EDITS, candidates
from workflows.stages.gallery import GALLERY
from workflows.stages.hybrids import partners
from workflows.workbench import Workbench

from cawa_core import interventions
from cawa_core.applications.segmentation import bright_foreground, intersection_over_union
from cawa_core.applications.suggestions import edit_suggestions
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.config import RunOptions
from workflows.shards import Shard
from workflows.verify import verify

APPLICATIONS = ("segmentation", "hybrids", "edits")


@pytest.fixture(scope="module")
def bench():
    return Workbench.build(SMALL, RunOptions())


@pytest.fixture(scope="module")
def tables(audited):
    manifest = Manifest.read(audited)
    return {name: manifest.table(name) for name in ("gallery", *APPLICATIONS)}


@pytest.fixture(scope="module")
def summary(audited):
    return json.loads((audited / "summary.json").read_text())


def pixels(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def sample_png(tables, class_id, index=0):
    gallery = tables["gallery"]
    own = gallery[(gallery.class_id == class_id) & (gallery.kind == "sample") & (gallery["index"] == index)]
    return own.png.item()


def test_label_maps_are_those_of_the_command(tables, tmp_path):
    flags = {"classes": [8], "clusters": [2, 3], "latents": 4, "fitted_latents": 4, "output": str(tmp_path)}
    run_segment(*merged_application(SegmentSpec, None, flags))
    own = tables["segmentation"][tables["segmentation"].class_id == 8]
    assert len(own) == 2 * 2 * 4
    for row in own.to_dict("records"):
        way = "weighted" if row["weighted"] else "plain"
        drawn = tmp_path / f"maps/c0008-{row['index']:04d}-{way}-{row['clusters']}.png"
        assert row["labels_png"] == drawn.read_bytes()


def test_overlap_is_that_of_maps_and_pictures(tables, bench):
    for row in tables["segmentation"].to_dict("records"):
        first = row["clusters"] == 2 and not row["weighted"]
        assert row["png"] == (sample_png(tables, row["class_id"], row["index"]) if first else None)
        z = bench.latents(row["class_id"], row["index"] + 1)[-1:]
        image = bench.generator(z, class_ids_of(row["class_id"], z))
        found = pixels(row["labels_png"]) >= row["n_background"]
        (overlap,) = intersection_over_union(found[None], bright_foreground(image.detach()))
        assert row["iou"] == pytest.approx(overlap)


def test_overlaps_are_averaged_over_latents_then_classes(tables, summary):
    means = tables["segmentation"].groupby(["clusters", "weighted", "class_id"]).iou.mean()
    by_way = means.groupby(["clusters", "weighted"]).mean()
    assert [row["clusters"] for row in summary["segmentation"]] == [2, 3]
    for row in summary["segmentation"]:
        assert row["plain"] == pytest.approx(by_way[row["clusters"], False])
        assert row["weighted"] == pytest.approx(by_way[row["clusters"], True])
        assert row["gained"] == pytest.approx(row["weighted"] - row["plain"])
        low, high = row["gained_ci"]
        assert low <= row["gained"] <= high


def test_partners_are_other_classes_whatever_else_is_audited(bench):
    alone = dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, classes=(3,)))
    for class_id in SMALL.classes:
        (drawn,) = partners(bench, class_id)
        assert drawn in set(range(10)) - {class_id}
        assert partners(bench, class_id) == partners(alone, class_id) == [drawn]
    many = dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, hybrid_partners=99))
    assert partners(many, 3) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_partners_have_enough_real_images(bench, monkeypatch):
    counts = {class_id: 0 if class_id in (4, 5) else 3 if class_id == 6 else 4 for class_id in range(10)}
    monkeypatch.setattr(type(bench.reals), "count_of", lambda _, class_id: counts[class_id])
    many = dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, hybrid_partners=99), kept={})
    assert partners(many, 3) == [0, 1, 2, 7, 8, 9]


def test_hybrids_are_those_of_the_command(tables, bench, tmp_path):
    own = tables["hybrids"][tables["hybrids"].class_id == 8].set_index("kind")
    reference = int(own.reference_id.iloc[0])
    flags = {"tried_latents": 2, "scored_latents": 4, "latents": 1, "output": str(tmp_path)}
    run_hybridise([8], [reference], *merged_application(HybridSpec, None, flags))
    (pair,) = json.loads((tmp_path / "hybrid.json").read_text())["pairs"]
    for kind in ("style_mixing", "channel_mixing"):
        there = pair["mixtures"][kind.replace("_", " ")]
        assert own.first_site[kind] == there["first_site"]
        assert list(own.sites[kind]) == [int(site) for site in there["transplants"]]
        assert own.k[kind] == max(map(len, there["transplants"].values()), default=0)
        for measure in ("input_probability", "reference_probability", "balance", "realism", "harmony"):
            assert own[measure][kind] == pytest.approx(there[measure]["mean"], rel=1e-5)
            assert own[f"{measure}_stderr"][kind] == pytest.approx(there[measure]["stderr"], rel=1e-5)
    assert own.pngs["input"][0] == sample_png(tables, 8)
    assert [len(pngs) for pngs in own.pngs] == [4] * 4


def test_what_channels_gain_is_the_difference_over_pairs(tables, summary):
    means = tables["hybrids"].groupby("kind")[["harmony", "balance", "realism"]].mean()
    assert [row["measure"] for row in summary["hybrids"]] == ["harmony", "balance", "realism"]
    for row in summary["hybrids"]:
        assert (row["n_pairs"], row["n_classes"]) == (4, 4)
        assert row["channel_mixing"] == pytest.approx(means[row["measure"]]["channel_mixing"], rel=1e-5)
        assert row["gained"] == pytest.approx(row["channel_mixing"] - row["style_mixing"])


def test_candidates_are_the_most_aware_of_class_or_latent_code(bench):
    """Ranked by hand from the awareness of the site; in closed form the latent awareness is the robust one."""
    found = candidates(bench, 3, 6 * 4)
    for site in range(6):
        aware = class_awareness(bench, (3,), site)
        assert np.isnan(aware.latent_awareness).all()
        own = {channel for at, channel in found if at == site}
        tops = (np.argsort(-values[0])[:2] for values in (aware.category_awareness, aware.latent_awareness_robust))
        assert len(own) == 4
        assert set(np.concatenate(list(tops)).tolist()) <= own


def test_edits_are_the_best_suggestions(tables, bench):
    own = tables["edits"][tables["edits"].class_id == 3]
    models, z = (bench.generator, bench.evaluator), bench.latents(3, 3)
    best = edit_suggestions(*models, z[:1], 3, candidates(bench, 3, 12))[:10]
    assert [(row.site, row.channel) for row in own.itertuples()] == [(one.site, one.channel) for one in best]
    assert set(own.n_tried) == {1}
    assert list(own.pngs.notna()) == [True] * 3 + [False] * 7
    for pngs in own.pngs.iloc[:3]:
        assert pngs[1] == sample_png(tables, 3, index=1)  # times 1: not a bit changed
        assert pngs[3] != pngs[1]


def test_edits_are_scored_by_latents_that_did_not_choose(tables, bench):
    """By hand, one channel after another, from pictures of the other latents."""
    own = tables["edits"][tables["edits"].class_id == 3]
    z = bench.latents(3, 3)[1:]
    class_ids = class_ids_of(3, z)
    plain = bench.generator(z, class_ids)
    before = bench.evaluator.log_probabilities(plain)[:, 3].exp()
    for row in own.itertuples():
        images = interventions.run(
            bench.generator, z, class_ids, [Intervention(row.site, (row.channel,), Scale(row.factor))]
        )
        change = ((images - plain).abs().flatten(1).mean(dim=1) / 2).detach().numpy()
        kept = (bench.evaluator.log_probabilities(images)[:, 3].exp() / before).clamp(max=1).detach().numpy()
        assert row.n_samples == len(z)
        for name, values in (("change", change), ("kept", kept)):
            assert getattr(row, name) == pytest.approx(values.mean(), rel=1e-4, abs=1e-7)
            stderr = values.std(ddof=1) / np.sqrt(len(z))
            assert getattr(row, f"{name}_stderr") == pytest.approx(stderr, rel=1e-3, abs=1e-7)
        assert row.merit == pytest.approx(row.change * row.locality * row.kept, rel=1e-5)


def test_candidates_of_one_site(bench):
    found = candidates(bench, 3, 12, only=4)
    assert len(found) == 12
    assert {site for site, _ in found} == {4}
    assert {channel for site, channel in candidates(bench, 3, 12) if site == 4} <= {channel for _, channel in found}


def test_a_gallery_is_the_same_whatever_the_batch(bench):
    shard = Shard("gallery", (8,), ())
    ((whole,), (pieces,)) = (
        GALLERY.process(dataclasses.replace(bench, options=RunOptions(batch_size=size), kept={}), shard).values()
        for size in (0, 5)
    )
    np.testing.assert_allclose(whole["score"], pieces["score"], rtol=1e-4)
    for one, other in zip(whole["png"], pieces["png"], strict=True):
        np.testing.assert_allclose(pixels(one).astype(int), pixels(other), atol=1)


def test_no_pass_is_larger_than_the_batch(bench, monkeypatch):
    """Pictures of the gallery and of edits, and what edits are scored by."""
    small, sizes = dataclasses.replace(bench, options=RunOptions(batch_size=3), kept={}), []
    real = bench.evaluator.log_probabilities
    monkeypatch.setattr(bench.evaluator, "log_probabilities", lambda images: sizes.append(len(images)) or real(images))
    GALLERY.process(small, Shard("gallery", (8,), ()))
    EDITS.process(small, Shard("edits", (8,), ()))
    assert sizes
    assert max(sizes) <= 3


def test_the_report_shows_and_judges_them(audited, summary):
    page = (audited / "report.html").read_text()
    for anchor in APPLICATIONS:
        assert f'<section id="{anchor}">' in page
    sources = [one["source"] for one in summary["findings"]]
    assert {"Sec. 5.2, Fig. 7", "Sec. 5.3, Fig. 8"} <= set(sources)


def test_one_class_alone_has_the_hybrids_of_a_larger_audit(tables, tmp_path):
    small_audit(tmp_path / "one", dataclasses.replace(SMALL, classes=(8,), stages=("hybrids", "edits")))
    alone, among_others = Manifest.read(tmp_path / "one").table("hybrids"), tables["hybrids"]
    among_others = among_others[among_others.class_id == 8].reset_index(drop=True)
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
        (["--segment-sites", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["--segment-sites", "1,1"], "sites must be different ones"),
        (["--segment-clusters", "1"], "clusters must be in 2..255"),
        (["--segment-clusters", "3,3"], "clusters must be different numbers"),
        (["--hybrid-partners", "0"], "hybrid_partners: input should be greater than or equal to 1; got 0"),
        (["--edit-candidates", "many"], "Invalid value for '--edit-candidates'"),
        (["--stages", "segmentations"], "did you mean 'segmentation'?"),
        (["--classes", "all,bag"], "classes: no class is named 'all'"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    code, printed = run(monkeypatch, capsys, "audit", "--executor", "inline", "--output", tmp_path / "new", *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not (tmp_path / "new").exists()


def test_all_is_every_class():
    spec = dataclasses.replace(SMALL, classes=("all",), stages=("awareness",))
    assert Workbench.build(spec, RunOptions()).spec.classes == tuple(range(10))
