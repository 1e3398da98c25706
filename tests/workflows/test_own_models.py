"""Generators and evaluators of the user's own, through the command line from a folder with their factories."""

import re
from pathlib import Path

import pytest
import torch

from cawa_core.tables import Manifest
from tests.workflows.test_cli import run

PAGE = Path(__file__).parent.parent.parent / "docs/own_generator.md"
OTHERS = '''
import torch
from torch import nn

from cawa_core.evaluators.classifier import LinearHeadClassifier
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.generators.modules import ModuleGenerator
from my_generator import MyGenerator


def classifier():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 10 * 10, 3))
    return LinearHeadClassifier(network, Preprocessing(32, (0.5,) * 3, (0.5,) * 3), name="my-classifier")


class Bent(nn.Module):
    """A class-conditional batch norm whose gain bends."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.gain, self.offset = norm.norm, norm.gain, norm.offset

    def forward(self, x, condition):
        gain, offset = 1 + torch.tanh(2 * self.gain(condition)), self.offset(condition)
        return gain[:, :, None, None] * self.norm(x) + offset[:, :, None, None]


def bent():
    network = MyGenerator()
    network.norm2 = Bent(network.norm2)
    return ModuleGenerator(network, z_dim=16, classes=3, name="bent")


def mute():
    class Sampling(MyGenerator):
        def forward(self, z, labels):
            with torch.no_grad():
                return super().forward(z, labels)

    return ModuleGenerator(Sampling(), z_dim=16, classes=3, name="mute")


def unsaid():
    made = classifier()
    del made.protocol
    return made


def larger():
    """A classifier of 64 pixels that takes images as they are."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3))
    made = LinearHeadClassifier(network, Preprocessing(64, (0.5,) * 3, (0.5,) * 3), name="larger")
    made.preprocessing = lambda images: images
    made.features = lambda images: made.head(images.flatten(1))
    return made


def nothing():
    return "a text"


seven = 7
'''
SMALL = ("--evaluator", "my_models:classifier", "--masking-latents", 8, "--control-repeats", 1, "--executor", "inline")
SMALL += ("--awareness-samples", 50, "--permutations", 20, "--bootstraps", 20, "--masking-group-size", 4)
FEW_LATENTS = ("--latent-samples", 1, "--latent-observed", 8, "--direction-search-latents", 2, "--direction-latents", 1)
FEW_LATENTS += ("--direction-steps", 1, "--translation-latents", 2)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The current folder: the page's example, its weights, and more factories."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_generator.py").write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    (tmp_path / "my_models.py").write_text(OTHERS)
    monkeypatch.delitem(__import__("sys").modules, "my_generator", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "my_models", raising=False)
    import my_generator

    torch.manual_seed(0)
    torch.save(my_generator.MyGenerator().state_dict(), tmp_path / "my_generator.pt")
    return tmp_path


def test_an_audit_of_the_pages_example(models, monkeypatch, capsys):
    """All stages but the class metrics, which need real images; classes of an own generator cannot be mixed."""
    stages = "awareness,masking,gallery,segmentation,hybrids,edits,latents,directions"
    arguments = ("--generator", "my_generator:factory", "--real-images", "", "--stages", stages)
    code, printed = run(monkeypatch, capsys, "audit", *arguments, *SMALL, *FEW_LATENTS)
    assert code == 0, printed.err
    manifest = Manifest.read(models / "results/my-generator")
    assert set(manifest.table("latents").space) == set(manifest.table("directions").space) == {"latent"}
    assert set(manifest.table("awareness").estimator) == {"closed_form", "monte_carlo"}
    assert int(manifest.table("masking").channels.map(len).sum()) == 3 * (32 + 16)
    assert manifest.table("masking").protocol[0].startswith("my-classifier; ")
    assert manifest.table("hybrids").empty
    assert set(manifest.table("edits").class_id) == set(manifest.table("segmentation").class_id) == {0, 1, 2}
    assert manifest.table("segmentation").iou.isna().all()
    assert 'id="segmentation"' in (models / "results/my-generator/report.html").read_text()
    code, printed = run(monkeypatch, capsys, "sites", "my_generator:factory")
    assert "2 sites, 48 channels, 0 inert" in printed.out


def test_a_site_that_is_not_affine_is_sampled(models, monkeypatch, capsys):
    arguments = ("--generator", "my_models:bent", "--stages", "awareness,masking", "--output", "bent", *SMALL)
    code, printed = run(monkeypatch, capsys, "audit", *arguments, "--awareness-estimators", "closed_form")
    assert code == 2
    assert "awareness_estimators must hold monte_carlo: gain and offset of site 1 (norm2) are not affine" in printed.err
    code, printed = run(monkeypatch, capsys, "audit", *arguments)
    assert code == 0, printed.err
    awareness = Manifest.read(models / "bent").table("awareness")
    assert set(awareness[awareness.site == 0].estimator) == {"closed_form", "monte_carlo"}
    assert set(awareness[awareness.site == 1].estimator) == {"monte_carlo"}


@pytest.mark.parametrize("name", ["bent", "mute"])
def test_dimensions_of_a_generator_without_a_closed_form_or_gradients(models, monkeypatch, capsys, name):
    """Predictions are those of affine sites; without gradients, sets are those of the measured effects."""
    stages = ("--generator", f"my_models:{name}", "--real-images", "", "--stages", "latents,directions")
    code, printed = run(monkeypatch, capsys, "audit", *stages, *SMALL, *FEW_LATENTS, "--output", "audit")
    assert code == 0, printed.err
    manifest = Manifest.read(models / "audit")
    predicted = manifest.table("latent_predictions")
    assert set(predicted.site) == ({0} if name == "bent" else {0, 1})
    assert ("sefa" in set(manifest.table("directions").way)) == (name == "mute")
    assert manifest.table("translations").empty  # classes are indices, none of which is closer than another
    for arguments, message in (
        (("--space", "embedding"), "takes class indices"),
        (("--dimension", "1"), "has no closed form"),
    ):
        if name == "bent":
            code, printed = run(monkeypatch, capsys, "latents", *stages[:2], "--evaluator", SMALL[1], *arguments)
            assert code == 2
            assert message in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--generator", "my_models:nothing", *SMALL),
            "must make a cawa_core.generators.base.Generator; it made a str",
        ),
        (("--generator", "my_models:seven", *SMALL), "must be a callable; got int"),
        (("--generator", "my_models:mute", *SMALL), "must let gradients through for masking"),
        (
            ("--generator", "my_generator:factory", "--evaluator", "my_models:unsaid"),
            "have the attribute protocol",
        ),
        (
            ("--generator", "my_generator:factory", "--weights", "step9.pt", *SMALL),
            "brings its own",
        ),
        (("--generator", "my_models:missing", *SMALL), "must be an importable package.module:factory"),
        (("--generator", "my_generator:factory", "--truncation", 0.5, *SMALL), "was built for 1; got 0.5"),
        (("--generator", "my_generator:factory"), "evaluator must be given for my_generator:factory: stage masking"),
        (("--generator", "my_generator:factory", "--evaluator", "my_models:nothing"), "it made a str"),
        (("--generator", "my_generator:factory", "--evaluator", "fashion-cnn"), "has 10, choose another"),
        (("--generator", "my_generator:factory", *SMALL, "--dtype", "float64"), "dtype: "),
        (
            ("--generator", "my_generator:factory", *SMALL[2:], "--evaluator", "my_models:larger"),
            "evaluator larger cannot take images [2, 3, 32, 32], choose another --evaluator: RuntimeError, mat1 and",
        ),
    ],
)
def test_factories_that_make_something_else(models, monkeypatch, capsys, arguments, message):
    code, printed = run(monkeypatch, capsys, "audit", "--output", "out", "--stages", "masking", *arguments)
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (models / "out").exists()
