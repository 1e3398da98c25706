"""``cawa compare``: a damaged checkpoint is found and named; another seed of the same one is not."""

import dataclasses
import json
import shutil

import pytest
import torch

from cawa_core.class_metrics.records import METRICS
from cawa_core.errors import InputError
from cawa_core.generators.fashion import FashionBigGAN
from cawa_core.generators.request import GeneratorRequest
from cawa_core.tables import Manifest
from tests.cawa_core.rendering.test_rendering import parsed
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from tests.workflows.test_compare_noise import ANYTHING
from workflows.compare.comparison import compare
from workflows.compare.options import ComparisonSpec, merged_comparison
from workflows.compare.quality import QUALITIES

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
    result = compare(audited, broken, ComparisonSpec(), str(tmp_path))
    assert result.is_worse
    assert result.sentence.startswith("worse: bag (")
    assert "classifier_accuracy" in result.sentence
    rows = [row for row in result.content["class_metrics"]["classes"] if row["verdict"] == "worse"]
    assert {row["class_id"] for row in rows} == {BAG}
    assert {row["verdict"] for row in result.content["class_metrics"]["totals"]} <= {"within noise", "below threshold"}
    assert all(row["relative_change"] != 0 for row in result.content["total_awareness"])


@pytest.mark.slow
def test_another_seed_of_the_same_checkpoint_is_not_worse(audited, reseeded, tmp_path):
    result = compare(audited, reseeded, ComparisonSpec(), str(tmp_path))
    assert not result.is_worse
    assert result.sentence == "not worse"
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


@pytest.mark.slow
def test_the_command_says_it_in_one_line_and_by_its_exit_code(audited, broken, reseeded, tmp_path, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "compare", audited, broken, "--output", tmp_path / "out")
    assert code == 4
    assert printed.out.startswith("worse: bag (")
    assert printed.out.count("\n") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.json", "compare.md", "compare.html"}
    code, printed = run(monkeypatch, capsys, "compare", audited, reseeded, "--output", tmp_path / "out")
    assert (code, printed.out) == (0, "not worse\n")
    lenient = tmp_path / "lenient.toml"
    lenient.write_text("\n".join(f"{quality.threshold} = 1000.0" for quality in QUALITIES.values()))
    arguments = ("compare", audited, broken, "--output", tmp_path / "out", "--spec", lenient)
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    assert run(monkeypatch, capsys, *arguments, "--classifier-accuracy-drop", 0.1)[0] == 4


@pytest.mark.slow
def test_the_files_lie_beside_the_tables_and_agree(audited, broken, tmp_path):
    new = shutil.copytree(broken, tmp_path / "new")
    before = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    result = compare(audited, new, ComparisonSpec())
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
    description = json.loads((folder / "audit.json").read_text())
    change(description)
    (folder / "audit.json").write_text(json.dumps(description))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["identity"]["spec"].update(classes=[1, 3]), "classes ([1, 3, 7, 8] in base, [1, 3] in new)"),
        (lambda one: one["identity"]["digests"].update(evaluator="other"), "digest of evaluator ("),
        (lambda one: one["identity"]["digests"].update(real_images="other"), "digest of real_images ("),
        (lambda one: one["identity"]["protocols"].update(fid_features="other"), "protocol of fid_features ("),
        (lambda one: one["identity"]["spec"].update(metric_samples=61), "metric_samples (60 in base, 61 in new)"),
        (lambda one: one["identity"]["spec"].update(masking_estimator="screening"), "masking_estimator ('exact' in"),
        (lambda one: one["identity"]["spec"].update(masking_group_size=4), "masking_group_size (8 in base, 4 in new)"),
        (lambda one: one["identity"].update(schema_version=2), "schema version ("),
        (
            lambda one: one["identity"]["spec"].update(stages=["gallery"]),
            "must both have one of awareness, masking, class_metrics, which are compared",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(audited, tmp_path, monkeypatch, capsys, change, message):
    folder = edited(audited, tmp_path, change)
    with pytest.raises(InputError) as refused:
        compare(audited, folder, ComparisonSpec(), str(tmp_path / "out"))
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()
    code, printed = run(monkeypatch, capsys, "compare", audited, folder, "--output", tmp_path / "out")
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_every_difference_is_named(audited, tmp_path):
    folder = edited(audited, tmp_path, lambda one: one["identity"]["spec"].update(truncation=0.5, neighbours=5, seed=9))
    with pytest.raises(InputError, match=r"truncation \(1.0 in base, 0.5 in new\); neighbours \(3 in base, 5 in new\)"):
        compare(audited, folder, ComparisonSpec())


def test_other_sites_are_refused(audited, tmp_path, monkeypatch):
    whole = Manifest.table

    def table(self, name):
        frame = whole(self, name)
        return frame.assign(channels=2 * frame.channels) if name == "sites" and "edited" in self.storage.url else frame

    folder = edited(audited, tmp_path)
    monkeypatch.setattr(Manifest, "table", table)
    with pytest.raises(InputError, match="checkpoints of one architecture"):
        compare(audited, folder, ComparisonSpec())


def test_an_unfinished_audit_is_refused(audited, tmp_path):
    folder = edited(audited, tmp_path)
    next((folder / "tables/class_metrics").iterdir()).unlink()
    with pytest.raises(InputError, match="is not finished: 3 of 4 parts of class_metrics"):
        compare(audited, folder, ComparisonSpec())


def test_outputs_that_would_overwrite_something_are_refused(audited, tmp_path):
    (tmp_path / "file").write_text("")
    for output, message in ((tmp_path / "file", "is a file"), (audited, "must not be an audit folder")):
        with pytest.raises(InputError, match=message):
            compare(audited, audited, ComparisonSpec(), str(output))
    with pytest.raises(InputError, match="is no audit folder"):
        compare(tmp_path, audited, ComparisonSpec())


def test_thresholds_from_file_and_flags(tmp_path):
    file = tmp_path / "thresholds.toml"
    file.write_text("fid_rise = 0.3\nrecall_drop = 0.2\n")
    spec = merged_comparison(file, {"recall_drop": 0.1, "kid_rise": None})
    assert (spec.fid_rise, spec.recall_drop, spec.kid_rise) == (0.3, 0.1, ComparisonSpec.kid_rise)
    file.write_text("fid_ris = 0.3\n")
    with pytest.raises(InputError, match=r"unknown option 'fid_ris' in .*; did you mean 'fid_rise'"):
        merged_comparison(file, {})
    with pytest.raises(InputError, match=r"false_discovery_rate: input should be less than 1; got 1\.5"):
        merged_comparison(None, {"false_discovery_rate": 1.5})


def test_every_metric_of_the_table_has_a_direction():
    assert set(QUALITIES) == set(METRICS)
    names = {field.name for field in dataclasses.fields(ComparisonSpec)}
    assert names == {quality.threshold for quality in QUALITIES.values()} | {"false_discovery_rate"}
