"""``cawa mask``: the same changes as the audit's tables, and input that does not fit."""

import json

import numpy as np
import pytest
from PIL import Image

from cawa_core.masking.engine import MaskingEngine
from cawa_core.numerics.batch_size import BatchSize
from cawa_core.statistics.standard_errors import crossed_standard_error
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL
from tests.workflows.test_cli import run
from workflows.analyses.masking.command import MaskCommandOptions
from workflows.analyses.masking.control_masks import site_controls
from workflows.analyses.masking.sheet import run_mask
from workflows.commands.options import merged_command
from workflows.folders.identity import identity_of
from workflows.lab import Lab
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions


def masked(folder, **fields):
    run_mask(*merged_command(MaskCommandOptions, None, {"output": str(folder), **fields}))
    return json.loads((folder / "mask.json").read_text())


def test_chosen_channels_change_what_the_table_says(audited, tmp_path):
    table = Manifest.read(audited).table("masking")
    row = table[(table["class_id"] == 3) & (table["site"] == 4)].iloc[2]
    flags = {"classes": [3], "site": 4, "channels": row["channels"].tolist(), "scored_latents": SMALL.masking_latents}
    (found,) = masked(tmp_path, **flags)["classes"]
    (mask,) = found["masks"]
    for column in ("score_change", "score_change_stderr", "log_score_change_abs"):
        assert mask[column] == pytest.approx(row[column], rel=1e-5, abs=2e-7)


@pytest.mark.parametrize("site", [-1, 2])
def test_controls_change_what_the_table_says(audited, tmp_path, site):
    table = Manifest.read(audited).table("masking_controls")
    flags = {"classes": [7, 8], "site": site, "scored_latents": SMALL.control_latents, "latents": 2}
    flags["control_repeats"] = SMALL.control_repeats
    for found in masked(tmp_path, **flags)["classes"]:
        own = table[(table["class_id"] == found["class_id"]) & (table["site"] == site)]
        assert [mask["name"] for mask in found["masks"]] == ["lowest", "random", "highest"]
        for mask in found["masks"]:
            rows = own[own["control"] == mask["name"]].sort_values("repeat")
            assert mask["score_change"] == pytest.approx(rows["score_change"].mean(), rel=1e-5, abs=2e-7)
            assert sum(map(len, mask["channels"].values())) == rows["n_channels"].iloc[0]
            if mask["name"] == "random":
                each = [draw["score_change"] for draw in mask["draws"]]
                assert each == pytest.approx(list(rows["score_change"]), rel=1e-5, abs=2e-7)
                assert mask["draws"][0]["channels"] == mask["channels"]
        highest, random = (own.loc[own["control"] == name, "score_change"].mean() for name in ("highest", "random"))
        gained = found["highest_minus_random"]["score_change"]
        assert gained == pytest.approx(highest - random, rel=1e-4, abs=5e-7)
    with Image.open(tmp_path / "mask.png") as sheet:
        assert sheet.height > 4 * 168


def test_the_error_of_random_channels_is_over_draws_and_latents(tmp_path):
    """By hand for draws of one site: more than the mean draw's error over latents, which leaves the draws out."""
    flags = {"classes": ["bag"], "site": 2, "scored_latents": 6, "latents": 1}
    (found,) = masked(tmp_path, **flags)["classes"]
    (mask,) = (one for one in found["masks"] if one["name"] == "random")
    lab = Lab.open(classes=[8])
    draws = site_controls(lab, 8, 2, fraction=0.1, repeats=8)
    engine = MaskingEngine(lab.generator, lab.evaluator, BatchSize(64))
    unmasked, after = engine.site_log_scores(lab.latents(8, 6), 8, 2, [*draws["random"], *draws["highest"]])
    values = np.exp(unmasked) - np.exp(after)
    assert mask["score_change_stderr"] == pytest.approx(crossed_standard_error(values[:8]), rel=1e-4)
    assert mask["score_change_stderr"] > values[:8].mean(axis=1).std(ddof=1) / np.sqrt(8) * (1 - 1e-4)
    paired = crossed_standard_error(values[8] - values[:8])
    assert found["highest_minus_random"]["score_change_stderr"] == pytest.approx(paired, rel=1e-4)


def test_one_random_draw_has_no_error(tmp_path):
    flags = {"classes": [8], "site": 2, "scored_latents": 2, "latents": 1, "control_repeats": 1}
    (found,) = masked(tmp_path, **flags)["classes"]
    lowest, random, _ = found["masks"]
    assert lowest["score_change_stderr"] is not None
    assert random["score_change_stderr"] is None


def test_the_file_says_what_made_it(tmp_path):
    found = masked(tmp_path, classes=["bag"], site=1, k=4, scored_latents=2, latents=1, truncation=0.5)
    spec = audit_spec(classes=(8,), truncation=0.5)
    lab = Lab.from_spec(spec, RunOptions(), ("evaluator",))
    assert found["identity"] == identity_of(lab, spec, lab.class_ids).as_data()
    assert found["options"] == {
        "classes": ["bag"],
        "site": 1,
        "channels": [],
        "k": 4,
        "latents": 1,
        "scored_latents": 2,
    }


def test_a_picture_at_a_time(tmp_path):
    """Batches change no number beyond rounding."""
    flags = {"classes": ["bag"], "site": 3, "scored_latents": 3, "latents": 3}
    whole, single = (masked(tmp_path / str(size), batch_size=size, **flags)["classes"][0] for size in (0, 1))
    assert whole["unmasked_scores"] == pytest.approx(single["unmasked_scores"], rel=1e-4)
    for one, other in zip(whole["masks"], single["masks"], strict=True):
        assert one["scores"] == pytest.approx(other["scores"], rel=1e-4)
        assert one["score_change"] == pytest.approx(other["score_change"], rel=1e-4)


def test_k_channels_at_each_site(tmp_path):
    (found,) = masked(tmp_path, classes=["bag"], k=3, scored_latents=2, latents=1)["classes"]
    assert {len(channels) for mask in found["masks"] for channels in mask["channels"].values()} == {3}
    assert {site for mask in found["masks"] for site in mask["channels"]} == set("012345")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "classes must name at least one class to mask"),
        (["--classes", "x"], "no class is named 'x'"),
        (["--classes", "1", "--channels", "3"], "site must be given with channels, in 0..5"),
        (["--classes", "1", "--site", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["--classes", "1", "--site", "-2"], "site: input should be greater than or equal to -1"),
        (["--classes", "1", "--site", "0", "--channels", "128"], "channels must be in 0..127 at site 0"),
        (["--classes", "1", "--k", "1000"], "k must be at most"),
        (["--classes", "1", "--site", "2", "--channels", "3", "--k", "4"], "leave out one"),
        (
            ["--classes", "1", "--latents", "61"],
            "latents times classes must be at most 60, the rows of pictures on a sheet; got 61 x 1",
        ),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    output = tmp_path / "mask"
    code, printed = run(monkeypatch, capsys, "mask", "--output", output, *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()
