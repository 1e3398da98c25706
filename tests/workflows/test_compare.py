"""``cawa compare``: a damaged checkpoint is found and named; another seed of the same one is not."""

import dataclasses
import json
import shutil

import pytest
import torch

from cawa_core.class_metrics.records import METRICS
from cawa_core.errors import InputError
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.tables import Manifest
from tests.cawa_core.rendering.test_rendering import parsed
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from tests.workflows.test_compare_noise import ANYTHING
from tests.workflows.written_audits import rewrite
from workflows.analyses import ANALYSES
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec, comparison_spec_type, merged_comparison

BAG = 8
DAMAGED = {
    0: (67, 116, 55, 107, 52, 72, 11, 91),
    1: (113, 108, 83, 85, 30, 120, 76, 87),
}
"""The groups of channels at the first two sites whose masking hurts class ``bag`` most."""


def damaged() -> FashionBigGAN:
    """The bundled generator, but those channels reach nothing."""
    bundled = FashionBigGAN.bundled(GeneratorRequest("fashion-biggan"))
    network = bundled.network
    convolutions = [convolution for block in network.blocks for convolution in (block.conv1, block.conv2)]
    with torch.no_grad():
        for site, channels in DAMAGED.items():
            convolutions[site].weight[:, list(channels)] = 0
    return FashionBigGAN(network, "damaged")


QUICK = dataclasses.replace(SMALL, stages=("awareness", "masking", "class_metrics"))


@pytest.fixture(scope="module")
def reseeded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "reseeded"
    small_audit(folder, dataclasses.replace(QUICK, seed=1))
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "broken"
    small_audit(folder, dataclasses.replace(QUICK, generator="tests.workflows.test_compare:damaged"))
    return folder


@pytest.mark.slow
def test_a_damaged_checkpoint_is_worse_in_the_classes_that_were_damaged(audited, broken, tmp_path):
    masking = Manifest.read(audited).table("masking")
    for site, channels in DAMAGED.items():
        own = masking[(masking.class_id == BAG) & (masking.site == site)]
        assert set(own.loc[own.score_change.idxmax()].channels) == set(channels)
    result = compare(audited, broken, comparison_spec(), str(tmp_path))
    assert result.is_worse
    assert result.sentence.startswith("worse: bag (")
    assert "classifier_accuracy" in result.sentence
    rows = [row for row in result.content["class_metrics"]["classes"] if row["verdict"] == "worse"]
    assert {row["class_id"] for row in rows} == {BAG}
    assert {row["verdict"] for row in result.content["class_metrics"]["totals"]} <= {"within noise", "below threshold"}
    assert all(row["relative_change"] != 0 for row in result.content["total_awareness"])


@pytest.mark.slow
def test_another_seed_of_the_same_checkpoint_is_not_worse(audited, reseeded, tmp_path):
    result = compare(audited, reseeded, comparison_spec(), str(tmp_path))
    assert not result.is_worse
    assert result.sentence == "not worse; same weights with seeds 0 and 1"
    assert (result.content["same_weights"], result.content["same_seed"]) == (True, False)
    assert {row["verdict"] for row in result.content["class_metrics"]["classes"]} <= {"same", "within noise"}
    assert result.content["differing_options"]["seed"] == [0, 1]
    assert {row["relative_change"] for row in result.content["total_awareness"]} == {0.0}
    exact = [row for row in result.content["channel_sets"]["by_site"] if row["criterion"] != "masking_highest"]
    assert {row["mean_overlap"] for row in exact} == {1.0}
    effects = result.content["masking_effects"]
    assert effects["n_groups"] == 4 * 576 // SMALL.masking_group_size
    assert effects["n_moved"] == 0
    assert max(row["largest_change"] for row in effects["by_class"]) > 0


def test_an_audit_beside_itself_has_not_moved_at_all(audited, tmp_path):
    result = compare(audited, str(audited), ANYTHING, str(tmp_path))
    assert not result.is_worse
    assert result.sentence == "identical: nothing moved"
    content = result.content
    rows = [*content["class_metrics"]["classes"], *content["class_metrics"]["totals"]]
    assert {row["verdict"] for row in rows} == {"same"}
    assert {row["mean_overlap"] for row in content["channel_sets"]["by_site"]} == {1.0}
    assert {row["criterion"] for row in content["channel_sets"]["by_site"]} >= {"category_highest", "masking_highest"}
    assert {row["mean_change"] for row in content["correlations"]["masking"]} == {0.0}
    assert {row["change"] for row in content["correlations"]["metrics"]} == {0.0}
    assert {row["largest_change"] for row in content["masking_effects"]["by_site"]} == {0.0}
    for name in ("segmentation", "hybrids", "edits"):
        assert {row["change"] for row in content[name]["classes"]} == {0.0}
        assert content[name]["n_unmatched"] == 0
    assert content["compared"] == [name for name, analysis in ANALYSES.items() if analysis.comparison]
    assert content["not_compared"] == {
        name: analysis.not_compared for name, analysis in ANALYSES.items() if analysis.not_compared
    }


@pytest.mark.slow
def test_the_command_says_it_in_one_line_and_by_its_exit_code(audited, broken, reseeded, tmp_path, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "compare", audited, broken, "--output", tmp_path / "out")
    assert code == 4
    assert printed.out.startswith("worse: bag (")
    assert printed.out.count("\n") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.json", "compare.md", "compare.html"}
    code, printed = run(monkeypatch, capsys, "compare", audited, reseeded, "--output", tmp_path / "out")
    assert (code, printed.out) == (0, "not worse; same weights with seeds 0 and 1\n")
    lenient = tmp_path / "lenient.toml"
    lenient.write_text("\n".join(f"{metric.threshold_option} = 1000.0" for metric in METRICS))
    arguments = ("compare", audited, broken, "--output", tmp_path / "out", "--spec", lenient)
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    assert run(monkeypatch, capsys, *arguments, "--classifier-accuracy-drop", 0.1)[0] == 4


@pytest.mark.slow
def test_the_files_lie_beside_the_tables_and_agree(audited, broken, tmp_path):
    new = shutil.copytree(broken, tmp_path / "new")
    before = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    result = compare(audited, new, comparison_spec())
    folder = new / "comparisons" / json.loads((audited / "audit.json").read_text())["hash"][:12]
    assert result.storage.url == str(folder)
    assert {path for path in new.rglob("*") if path.is_file()} - set(before) == set(folder.iterdir())
    assert all(path.read_bytes() == content for path, content in before.items())
    assert json.loads((folder / "compare.json").read_text()) == result.content
    assert result.sentence in (folder / "compare.md").read_text()
    text = (folder / "compare.html").read_text()
    page = parsed(text)
    assert result.sentence in text
    assert all(source.startswith("data:") for source in page.sources)
    assert "@import" not in text
    assert "url(http" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {"totals", "classes", "masking", "sets", "correlations", "provenance"} <= set(page.ids)


def edited(audited, tmp_path, change=dict):
    """A copy of the audit whose description was changed, its tables not."""
    folder = shutil.copytree(audited, tmp_path / "edited")
    rewrite(folder / "audit.json", change)
    return folder


def options(**values):
    """A change of the options that a folder records, of the audit and of each analysis that has them."""

    def change(description):
        for recorded in (description["identity"]["spec"], *_analysis_options(description)):
            recorded.update({name: value for name, value in values.items() if name in recorded})

    return change


def _analysis_options(description):
    return [analysis["options"] for analysis in description.get("analyses", {}).values()]


def without_all_but(*names):
    """A folder that has these analyses only."""

    def change(description):
        description["identity"]["spec"]["stages"] = list(names)
        analyses = description.get("analyses", {})
        description["analyses"] = {name: analysis for name, analysis in analyses.items() if name in names}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["identity"]["spec"].update(classes=[1, 3]), "classes ([1, 3, 7, 8] in base, [1, 3] in new)"),
        (lambda one: one["identity"]["digests"].update(evaluator="other"), "digest of evaluator ("),
        (lambda one: one["identity"]["digests"].update(real_images="other"), "digest of real_images ("),
        (lambda one: one["identity"]["protocols"].update(fid_features="other"), "protocol of fid_features ("),
        (options(metric_samples=61), "metric_samples (60 in base, 61 in new)"),
        (options(masking_estimator="screening"), "masking_estimator ('exact' in"),
        (options(masking_group_size=4), "masking_group_size (8 in base, 4 in new)"),
        (lambda one: one["identity"].update(schema_version=2), "schema version ("),
        (options(segmentation_clusters=[2, 4]), "segmentation_clusters ([2, 3] in base, [2, 4] in new)"),
        (options(segmentation_fitted_latents=5), "segmentation_fitted_latents (4 in base, 5 in new)"),
        (options(edit_candidates=13), "edit_candidates (12 in base, 13 in new)"),
        (options(hybrid_tried_latents=3), "hybrid_tried_latents (2 in base, 3 in new)"),
        (
            without_all_but("gallery"),
            "must both have one of awareness, masking, class_metrics, edits, hybrids, segmentation, dissection",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(audited, tmp_path, monkeypatch, capsys, change, message):
    folder = edited(audited, tmp_path, change)
    with pytest.raises(InputError) as refused:
        compare(audited, folder, comparison_spec(), str(tmp_path / "out"))
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()
    code, printed = run(monkeypatch, capsys, "compare", audited, folder, "--output", tmp_path / "out")
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_every_difference_is_named(audited, tmp_path):
    folder = edited(audited, tmp_path, options(truncation=0.5, neighbours=5, seed=9))
    with pytest.raises(InputError, match=r"truncation \(1.0 in base, 0.5 in new\); neighbours \(3 in base, 5 in new\)"):
        compare(audited, folder, comparison_spec())


def test_options_of_what_is_not_compared_may_differ(audited, tmp_path):
    """They may if only one audit has the analysis, too, and so may the networks that no compared analysis uses."""

    def change(description):
        options(hybrid_scored_latents=5, edit_scored_latents=3, control_fraction=0.2, overlap_k=[5], metric_samples=61)(
            description
        )
        without_all_but("awareness", "masking", "gallery", "hybrids", "edits")(description)
        description["identity"]["digests"]["fid_features"] = "other"

    content = compare(audited, edited(audited, tmp_path, change), comparison_spec(), str(tmp_path / "out")).content
    assert content["sentence"] == "not judged: class_metrics is not in both audits; nothing moved"
    differing = {
        "control_fraction",
        "edit_scored_latents",
        "hybrid_scored_latents",
        "metric_samples",
        "overlap_k",
        "stages",
    }
    assert set(content["differing_options"]) == differing
    assert content["class_metrics"] is None
    assert content["correlations"]["metrics"] is None
    assert content["segmentation"] is None
    assert content["not_compared"]["segmentation"] == "only base has it"


def test_analyses_that_cover_other_classes_are_refused(audited, tmp_path):
    def change(description):
        description["analyses"]["edits"]["class_ids"] = [1, 3]

    with pytest.raises(InputError, match=r"classes of edits \(\[1, 3, 7, 8\] in base, \[1, 3\] in new\)"):
        compare(audited, edited(audited, tmp_path, change), comparison_spec())


def test_other_sites_are_refused(audited, tmp_path, monkeypatch):
    whole = Manifest.table

    def table(self, name):
        frame = whole(self, name)
        return frame.assign(channels=2 * frame.channels) if name == "sites" and "edited" in self.storage.url else frame

    folder = edited(audited, tmp_path)
    monkeypatch.setattr(Manifest, "table", table)
    with pytest.raises(InputError, match="checkpoints of one architecture"):
        compare(audited, folder, comparison_spec())


@pytest.mark.parametrize("n_units", [4, 0])
def test_an_unfinished_audit_is_refused(audited, tmp_path, n_units):
    """Whether or not it recorded how many units it has: an earlier version did not."""
    folder = edited(audited, tmp_path, lambda one: one["analyses"]["class_metrics"].update(n_units=n_units))
    next((folder / "tables/class_metrics").iterdir()).unlink()
    with pytest.raises(InputError, match="is not finished: 3 of 4 parts of class_metrics"):
        compare(audited, folder, comparison_spec())


def test_outputs_that_would_overwrite_something_are_refused(audited, tmp_path):
    (tmp_path / "file").write_text("")
    for output, message in ((tmp_path / "file", "is a file"), (audited, "must not be an audit folder")):
        with pytest.raises(InputError, match=message):
            compare(audited, audited, comparison_spec(), str(output))
    with pytest.raises(InputError, match="is no audit folder"):
        compare(tmp_path, audited, comparison_spec())


def test_thresholds_from_file_and_flags(tmp_path):
    file = tmp_path / "thresholds.toml"
    file.write_text("fid_rise = 0.3\nrecall_drop = 0.2\n")
    spec = merged_comparison(file, {"recall_drop": 0.1, "kid_rise": None})
    assert (spec.fid_rise, spec.recall_drop, spec.kid_rise) == (0.3, 0.1, comparison_spec().kid_rise)
    file.write_text("fid_ris = 0.3\n")
    with pytest.raises(InputError, match=r"unknown option 'fid_ris' in .*; did you mean 'fid_rise'"):
        merged_comparison(file, {})
    with pytest.raises(InputError, match=r"false_discovery_rate: input should be less than 1; got 1\.5"):
        merged_comparison(None, {"false_discovery_rate": 1.5})


def test_the_options_are_the_false_discovery_rate_and_a_threshold_for_each_metric():
    names = [field.name for field in dataclasses.fields(comparison_spec_type())]
    assert names == ["false_discovery_rate", *(metric.threshold_option for metric in METRICS)]
    assert (comparison_spec().false_discovery_rate, comparison_spec().kid_rise) == (0.05, 0.2)
