"""``cawa mask``: the same changes as the audit's tables, and input that does not fit."""

import json

import pytest
from PIL import Image

from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL
from tests.workflows.test_cli import run
from workflows.applications.mask import run_mask
from workflows.applications.options import MaskSpec, merged_application


def masked(folder, **fields):
    run_mask(*merged_application(MaskSpec, None, {"output": str(folder), **fields}))
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
    for found in masked(tmp_path, **flags)["classes"]:
        own = table[(table["class_id"] == found["class_id"]) & (table["site"] == site)]
        assert [mask["name"] for mask in found["masks"]] == ["lowest", "random", "highest"]
        for mask in found["masks"]:
            row = own[own["control"] == mask["name"]].sort_values("repeat").iloc[0]
            assert mask["score_change"] == pytest.approx(row["score_change"], rel=1e-5, abs=2e-7)
            assert sum(map(len, mask["channels"].values())) == row["n_channels"]
    with Image.open(tmp_path / "mask.png") as sheet:
        assert sheet.height > 4 * 168


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
        (["--classes", "1", "--latents", "61"], "latents must be at most 60 for 1 classes"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    output = tmp_path / "mask"
    code, printed = run(monkeypatch, capsys, "mask", "--output", output, *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()
