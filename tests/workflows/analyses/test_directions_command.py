"""``cawa latents``: directions of concepts and of ticked images as files that ``cawa edit`` applies; bad input."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cawa_core.generators.base import class_ids_of
from tests.planted_dimensions import PlantedGenerator
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_cli import run
from workflows.analyses.directions.positives import shared_channels
from workflows.lab import Lab

PLANTED = (
    "--generator",
    "tests.planted_dimensions:PlantedGenerator.of",
    "--evaluator",
    "tests.planted_dimensions:BlindEvaluator",
)
BACKGROUND = "tests.planted_dimensions:background"
PAGE = Path(__file__).parent.parent.parent.parent / "docs/latents.md"
QUICK = ("--latent-samples", "2", "--direction-search-latents", "12", "--direction-steps", "3")


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command, and return its exit code and what it printed."""
    return lambda *arguments: run(monkeypatch, capsys, *arguments)


def test_a_planted_direction_is_found_saved_and_applied(tmp_path, command):
    options = ("--concepts", f"{BACKGROUND},tests.planted_dimensions:chaos", *QUICK, "--classes", "1,2")
    code, printed = command("latents", *PLANTED, *options, "--output", tmp_path / "a")
    assert code == 0, printed.err
    assert printed.out.count("none controls it") == 2
    (path, *_) = sorted((tmp_path / "a/directions").glob("*-sequential.json"))
    saved = json.loads(path.read_text())
    assert {int(index) for index in saved["latent"]} == {1, 4}
    assert saved["latent"]["1"] > 0 > saved["latent"]["4"]
    described = json.loads((tmp_path / "a/latents.json").read_text())
    assert {entry["dimensions"] for entry in described["sets"] if "chaos" in entry["concept"]} == {0}
    with Image.open(tmp_path / "a/latents.png") as sheet:
        assert sheet.height > 500

    code, printed = command(
        "edit", *PLANTED, "--classes", "2", "--direction", path, "--strengths=-1,0,2", "--output", tmp_path / "b"
    )
    assert code == 0, printed.err
    edited = json.loads((tmp_path / "b/edit.json").read_text())
    generator = PlantedGenerator()
    z = generator.sample_latents(0, 2, range(3))
    direction = torch.zeros(8)
    for index, weight in saved["latent"].items():
        direction[int(index)] = weight
    lab = Lab.open(PLANTED[1], evaluator=PLANTED[3], real_images="")
    for strength, scores in zip((-1, 0, 2), edited["edits"][0]["scores"], strict=True):
        images = generator(z + strength * direction, class_ids_of(2, z))
        expected = lab.evaluator.log_probabilities(images)[:, 2].exp()
        np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-4)
    assert edited["edits"][0]["scores"][1] == edited["edits"][0]["unedited_scores"]


def test_the_examples_of_the_page_run(tmp_path, command, monkeypatch, capsys):
    """Both Python examples, on a direction that the command saved and on a set of an audit."""
    code, printed = command("latents", "--concepts", "brightness", *QUICK, "--output", tmp_path / "latents")
    assert code == 0, printed.err
    spec = dataclasses.replace(
        SMALL,
        classes=(7,),
        stages=("latents", "directions"),
        real_images="",
        latent_concepts=("attributes",),
        latent_spaces=("latent",),
        latent_dimensions=(),
        latent_samples=2,
        direction_classes=5,
        direction_search_latents=16,
        translation_partners=0,
    )
    small_audit(tmp_path / "audit", spec)
    from_command, from_audit = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(from_command.replace("results/fashion-biggan-latents", str(tmp_path / "latents")), {})
    values = [float(value) for value in re.findall(r"-?0\.\d+", capsys.readouterr().out)]
    assert values == sorted(values)
    assert values[2] - values[0] > 0.1
    names: dict[str, object] = {}
    exec(from_audit.replace("results/fashion-biggan", str(tmp_path / "audit")), names)
    path = tmp_path / "from-audit.json"
    path.write_bytes(names["content"])
    code, printed = command("edit", "--classes", "7", "--direction", path, "--output", tmp_path / "edit")
    assert code == 0, printed.err


def test_without_concepts_every_one_is_searched(tmp_path, command):
    options = (*QUICK, "--segmenter", "garment-parts", "--space", "embedding", "--direction-classes", "2")
    code, printed = command("latents", *options, "--output", tmp_path)
    assert code == 0, printed.err
    for concept in ("class log-odds", "area of garment", "brightness", "object parts"):
        assert concept in printed.out
    for path in (tmp_path / "directions").glob("*.json"):
        saved = json.loads(path.read_text())
        assert saved["embedding"]
        assert not saved["latent"]


def test_what_ticked_images_share_is_listed(tmp_path, command):
    code, printed = command("latents", "--positives", "3,7,11,12", "--classes", "1", "--output", tmp_path)
    assert code == 0, printed.err
    described = json.loads((tmp_path / "latents.json").read_text())
    lab = Lab.open("fashion-biggan", classes=("1",))
    z = lab.latents(1, 20)[[3, 7, 11, 12]].numpy()
    relevance = np.abs(z.mean(axis=0)) / (z.std(axis=0, ddof=1) + 0.5)
    assert [entry["dimension"] for entry in described["dimensions"]] == np.argsort(-relevance)[:10].tolist()
    top = described["channels"][0]
    gain, offset = lab.generator.gains_and_offsets(top["site"], lab.latents(1, 20)[[3, 7, 11, 12]], 1)
    awareness = lab.class_awareness((1,), top["site"])
    spread = np.sqrt(awareness.latent_awareness_robust[0, top["channel"]])
    threshold = (offset / gain).double().numpy()[:, top["channel"]]
    standardised = (threshold - awareness.category_awareness[0, top["channel"]]) / spread
    assert top["mean"] == pytest.approx(standardised.clip(-5, 5).mean(), rel=1e-4)
    (path,) = (tmp_path / "directions").glob("*.json")
    assert path.name == "positives-3-7-11-12.json"


def test_closed_forms_are_listed_by_dimension_and_by_channel(tmp_path, command):
    code, printed = command("latents", "--dimension", "16", "--listed", "5", "--output", tmp_path / "a")
    assert code == 0, printed.err
    (first, *rest) = json.loads((tmp_path / "a/latents.json").read_text())["drives"]
    assert len(rest) == 4
    assert abs(first["activation"]) >= abs(rest[0]["activation"])
    place = ("--site", str(first["site"]), "--channel", str(first["channel"]), "--listed", "64")
    code, printed = command("latents", *place, "--output", tmp_path / "b")
    assert code == 0, printed.err
    by_dimension = {row["dimension"]: row for row in json.loads((tmp_path / "b/latents.json").read_text())["drives"]}
    assert by_dimension[16] == first


@pytest.fixture
def a_direction(tmp_path):
    path = tmp_path / "direction.json"
    path.write_text(json.dumps({"format": "cawa direction 1", "generator": "biggan", "generator_digest": "x"}))
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--concepts", "colour"), "concepts must be among class log-odds"),
        (("--concepts", "brightnes"), "did you mean 'brightness'"),
        (("--concepts", "brightness,brightness"), "must be different ones"),
        (("--concepts", "no.such:thing"), "must be an importable"),
        (("--concepts", "tests.planted_dimensions:wrong"), "must return"),
        (("--concepts", "tests.planted_dimensions:constant"), "is constant"),
        (("--positives", "3"), "at least 2 images"),
        (("--positives", ""), "positives"),
        (("--positives", "3,3"), "different images"),
        (("--positives", "3,20"), "positives must be in 0..19"),
        (("--positives", "3,7", "--classes", "1,2"), "classes must be one"),
        (("--positives", "3,7", "--concepts", "brightness"), "does not go with"),
        (("--dimension", "64"), "dimension must be in 0..63"),
        (("--dimension", "4", "--space", "other"), "space"),
        (("--positives", "3,7", "--space", "embedding"), "space must be latent with positives"),
        (("--images", "12", "--classes", "0,1,2,3,4,5"), "at most 60 rows"),
        (("--site", "0"), "site and channel must be given together"),
        (("--site", "0", "--channel", "128"), "channels must be in 0..127"),
        (("--site", "6", "--channel", "1"), "site must be in 0..5"),
        (("--strengths", ""), "strengths"),
    ],
)
def test_bad_input_is_one_line(tmp_path, command, arguments, words):
    code, printed = command("latents", *arguments, "--output", tmp_path / "out")
    assert code == 2
    assert words in printed.err
    assert printed.err.strip().count("\n") == 0
    assert not (tmp_path / "out/latents.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "classes must name at least one"),
        (("--classes", "1", "--steps", "3"), "steps does not go with direction"),
        (("--classes", "1", "--channels", "3"), "channels does not go with direction"),
        (("--classes", "1", "--labels", "x.png"), "labels does not go with direction"),
        (("--classes", "1"), "belongs to biggan"),
    ],
)
def test_a_direction_that_does_not_fit_is_refused(tmp_path, command, a_direction, arguments, words):
    code, printed = command("edit", *arguments, "--direction", a_direction, "--output", tmp_path / "out")
    assert code == 2
    assert words in printed.err
    assert printed.err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_a_missing_direction_is_refused(tmp_path, command):
    code, printed = command("edit", "--classes", "1", "--direction", tmp_path / "none.json")
    assert code == 2
    assert "cannot be read" in printed.err


def test_channels_that_the_latent_code_does_not_change_share_nothing(monkeypatch):
    """Of a site that only the class modulates, all latents have one ratio, and its rounding is no agreement."""
    lab = Lab.open("fashion-biggan", classes=("1",))
    modulation = lab.generator.modulation(2)
    constant = dataclasses.replace(
        modulation,
        gain=dataclasses.replace(modulation.gain, from_latent=torch.zeros_like(modulation.gain.from_latent)),
        offset=dataclasses.replace(modulation.offset, from_latent=torch.zeros_like(modulation.offset.from_latent)),
    )
    others = lab.generator.modulation
    monkeypatch.setattr(type(lab.generator), "modulation", lambda _, site: constant if site == 2 else others(site))
    ranks = shared_channels(lab, 1, lab.latents(1, 20)[[3, 7, 11, 12]])
    assert {rank.relevance for rank in ranks if rank.site == 2} == {0}
    assert ranks[0].relevance > 1
