"""``cawa hybridise``: the best mixtures of pairs of classes, their scores, and input that does not fit."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.hybrids.mixtures import MEASURES, Mixture
from tests.workflows.test_cli import run
from workflows.analyses.hybrids import sheet as hybrids_sheet
from workflows.analyses.hybrids.command import HybridiseCommandOptions
from workflows.analyses.hybrids.sheet import run_hybridise
from workflows.commands.options import merged_command
from workflows.lab import Lab

FEW = {"latents": 1, "tried_latents": 2, "scored_latents": 6}


def mixed(folder, inputs, references, **fields):
    options = FEW | {"output": str(folder)} | fields
    run_hybridise(inputs, references, *merged_command(HybridiseCommandOptions, None, options))
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
    lab = Lab.open()
    transplants = {site: tuple(lab.channel_order(5, site)[-7:].tolist()) for site in (1, 2)}
    channels, style = (one["mixtures"][f"{kind} mixing"] for kind in ("channel", "style"))
    assert {int(site): tuple(some) for site, some in channels["transplants"].items()} == transplants
    assert (style["first_site"], style["transplants"]) == (2, {})
    z = lab.latents(8, 8)[2:]
    for pictures, kind in (
        (Mixture(1, transplants).images(lab.generator, z, (8, 5)), channels),
        (Mixture(2).images(lab.generator, z, (8, 5)), style),
    ):
        with torch.inference_mode():
            seen = lab.evaluator.log_probabilities(pictures).exp()
        assert kind["input_probability"]["mean"] == pytest.approx(seen[:, 8].mean().item(), rel=1e-4)
        assert kind["balance"]["mean"] == pytest.approx((4 * seen[:, 8] * seen[:, 5]).mean().item(), rel=1e-4)


def test_a_class_given_twice_by_different_words_counts_once(tmp_path):
    found = mixed(tmp_path, [8, 1, "bag"], ["bag", "dress"])
    assert [(one["input"], one["reference"]) for one in found["pairs"]] == [(8, 3), (1, 8), (1, 3)]


def test_real_images_of_other_classes_stop_it(monkeypatch, capsys, tmp_path):
    """Noise is no trouser and no sandal; unless it is let pass."""
    random = np.random.default_rng(0)
    for name in ("trouser", "sandal"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(8):
            noise = random.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "pictures" / name / f"{index}.png")
    words = ("trouser", "sandal", "--real-images", tmp_path / "pictures", "--output", tmp_path / "hybrid")
    sizes = ("--latents", 1, "--tried-latents", 2, "--scored-latents", 2)
    code, printed = run(monkeypatch, capsys, "hybridise", *words, *sizes)
    assert code == 2
    assert "images to their folder's class, fewer than minimum_real_accuracy=0.2" in printed.err
    assert not (tmp_path / "hybrid").exists()
    code, printed = run(monkeypatch, capsys, "hybridise", *words, *sizes, "--minimum-real-accuracy", 0)
    assert code == 0, printed.err


def test_a_generator_of_one_class_a_picture_is_refused_first(monkeypatch, tmp_path):
    monkeypatch.setattr(FashionBigGAN, "reconditioned", Generator.reconditioned)
    monkeypatch.setattr(hybrids_sheet, "check_real_images", lambda _: pytest.fail("asked for real images first"))
    with pytest.raises(InputError, match="fashion-biggan takes one class for a whole picture"):
        mixed(tmp_path / "hybrid", ["bag"], ["dress"])
    assert not (tmp_path / "hybrid").exists()


def test_networks_that_hybrids_do_not_use_are_not_loaded(tmp_path):
    """The weights of the network for FID are neither here nor to be fetched."""
    flags = {"fid_features": "fid-inception", "offline": True, "cache": str(tmp_path / "cache")}
    assert mixed(tmp_path / "hybrid", ["bag"], ["dress"], **flags)["realism"] is not None


def test_all_that_was_tried_is_listed_and_the_best_of_it_shown(tmp_path):
    (one,) = mixed(tmp_path, ["bag"], ["sandal"])["pairs"]
    channels, style = (one["mixtures"][f"{kind} mixing"] for kind in ("channel", "style"))
    assert [entry["first_site"] for entry in style["tried"]] == [1, 2, 3, 4, 5]
    assert len(channels["tried"]) == 6 * 4
    for shown in (channels, style):
        best = max(shown["tried"], key=lambda entry: entry["harmony"])
        assert best["first_site"] == shown["first_site"]
        assert best["sites"] == sorted(map(int, shown["transplants"]))
        assert best["k"] == max(map(len, shown["transplants"].values()), default=0)
        for entry in shown["tried"]:
            assert set(entry) == {"first_site", "sites", "k", *MEASURES}


def test_mixtures_and_progress_are_printed(monkeypatch, capsys, tmp_path):
    words = ("bag", "sandal", "--tried-latents", 2, "--scored-latents", 2, "--latents", 1, "--output", tmp_path)
    code, printed = run(monkeypatch, capsys, "hybridise", *words, "--k", "8")
    assert code == 0
    assert printed.err.splitlines()[-1].startswith("mixing classes of fashion-biggan: 100%")
    lines = printed.out.splitlines()
    assert lines[0] == "bag × sandal: best 5 of 11 mixtures on the 2 latents that choose"
    harmonies = [float(re.split(r"  +", line.strip())[3]) for line in lines[2:7]]
    assert harmonies == sorted(harmonies, reverse=True)
    assert lines[7].startswith("sheet: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bag"], "Missing argument 'references'"),
        (["bag", "bga"], "no class is named 'bga'; did you mean 'bag'?"),
        (["bag", "bag"], "reference must include a class other than the input"),
        (["bag", "shirt", "--sites", "6"], "site must be in 0..5 for fashion-biggan; got 6"),
        (["bag", "shirt", "--k", "1000"], "k must be at most 64"),
        (["bag", "shirt", "--k", "0"], "k: input should be greater than or equal to 1; got 0"),
        (
            ["bag", "shirt", "--latents", "61"],
            "latents times pairs must be at most 60, the rows of pictures on a sheet; got 61 x 1",
        ),
        (["bag", "shirt", "--real-images", "nowhere"], "nowhere"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, words, message):
    output = tmp_path / "hybrid"
    code, printed = run(monkeypatch, capsys, "hybridise", "--output", output, *words)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not output.exists()
