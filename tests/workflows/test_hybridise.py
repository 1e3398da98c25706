"""``cawa hybridise``: the best mixtures of pairs of classes, their scores, and input that does not fit."""

import json

import pytest
import torch
from PIL import Image

from cawa_core.applications.hybridisation import channel_mixed, style_mixed
from tests.workflows.test_cli import run
from workflows.applications.hybridise import run_hybridise
from workflows.applications.options import HybridSpec, merged_application
from workflows.stages.masking import site_order
from workflows.workbench import Workbench

FEW = {"latents": 1, "tried_latents": 2, "scored_latents": 6}


def mixed(folder, inputs, references, **fields):
    run_hybridise(inputs, references, *merged_application(HybridSpec, None, FEW | {"output": str(folder)} | fields))
    return json.loads((folder / "hybrid.json").read_text())


def test_a_grid_of_pairs(tmp_path):
    found = mixed(tmp_path, ["bag", 1], ["bag", "dress"])
    assert [(one["input"], one["reference"]) for one in found["pairs"]] == [(8, 3), (1, 8), (1, 3)]
    for one in found["pairs"]:
        gained = one["harmony_gained_by_channels"]["mean"]
        channels, style = (one["mixtures"][f"{kind} mixing"]["harmony"]["mean"] for kind in ("channel", "style"))
        assert gained == pytest.approx(channels - style)
    with Image.open(tmp_path / "hybrid.png") as sheet:
        assert sheet.width > 4 * 168


def test_given_sites_and_k_are_what_is_mixed_and_scored(tmp_path):
    (one,) = mixed(tmp_path, [8], [5], sites=[1, 2], k=[7])["pairs"]
    spec, options = merged_application(HybridSpec, None, {})[1:]
    bench = Workbench.build(spec, options)
    transplants = {site: tuple(site_order(bench, 5, site)[-7:].tolist()) for site in (1, 2)}
    channels, style = (one["mixtures"][f"{kind} mixing"] for kind in ("channel", "style"))
    assert {int(site): tuple(some) for site, some in channels["transplants"].items()} == transplants
    assert (style["first_site"], style["transplants"]) == (2, {})
    z = bench.latents(8, 8)[2:]
    for pictures, kind in (
        (channel_mixed(bench.generator, z, 8, 5, transplants), channels),
        (style_mixed(bench.generator, z, 8, 5, 2), style),
    ):
        with torch.inference_mode():
            seen = bench.evaluator.log_probabilities(pictures).exp()
        assert kind["input_probability"]["mean"] == pytest.approx(seen[:, 8].mean().item(), rel=1e-4)
        assert kind["balance"]["mean"] == pytest.approx((4 * seen[:, 8] * seen[:, 5]).mean().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bag"], "Missing argument 'references'"),
        (["bag", "bga"], "no class is named 'bga'; did you mean 'bag'?"),
        (["bag", "bag"], "reference must name another class than input"),
        (["bag", "shirt", "--sites", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["bag", "shirt", "--k", "1000"], "k must be at most 64"),
        (["bag", "shirt", "--k", "0"], "k: input should be greater than or equal to 1; got 0"),
        (["bag", "shirt", "--latents", "61"], "latents must be at most 60 for 1 pairs"),
        (["bag", "shirt", "--real-images", "nowhere"], "nowhere"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, words, message):
    output = tmp_path / "hybrid"
    code, printed = run(monkeypatch, capsys, "hybridise", "--output", output, *words)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()
