"""Effects of dimensions: planted ones are found and no others; rows equal those by hand; nothing else enters."""

import dataclasses
import importlib
import linecache
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.planted_dimensions import CONTROLS
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.latents.measurements import deviation_of, responses_of
from workflows.analyses.latents.results import effects_summary, predictions_summary
from workflows.lab import Lab
from workflows.options.run import RunOptions
from workflows.results.class_resamples import ClassResamples

PLANTED = dataclasses.replace(
    SMALL,
    generator="tests.planted_dimensions:PlantedGenerator.of",
    evaluator="tests.planted_dimensions:BlindEvaluator",
    real_images="",
    classes=(),
    stages=("latents", "directions"),
    latent_concepts=tuple(f"tests.planted_dimensions:{name}" for name in ("background", "corner", "chaos", "constant")),
    latent_dimensions=(),
    latent_grid=(-3.0, -1.5, 0.0, 1.5, 3.0),
    latent_samples=4,
    latent_observed=64,
    direction_classes=6,
    direction_search_latents=12,
    direction_steps=4,
    direction_strengths=(1.0, 2.0, 4.0),
    direction_latents=6,
    direction_random_sets=3,
)


@pytest.fixture(scope="session")
def planted_dimensions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted dimensions") / "audit"
    assert not small_audit(folder, PLANTED).quarantined
    return Manifest.read(folder)


def named(concept):
    return f"tests.planted_dimensions:{concept}"


def test_dimensions_with_a_significant_effect_are_the_planted_ones(planted_dimensions):
    summary = effects_summary(planted_dimensions.table("latents"), ClassResamples(0, 100))
    rows = planted_dimensions.table("latents")
    for concept, controls in CONTROLS.items():
        part = rows[(rows.concept == named(concept)) & (rows.space == "latent")]
        if controls:
            moving = set(part[part.effect != 0].dimension)
            assert moving == set(controls)
            for index, sign in controls.items():
                assert (np.sign(part[part.dimension == index].effect) == sign).all()
        (entry,) = [row for row in summary["concepts"] if (row["concept"], row["space"]) == (named(concept), "latent")]
        assert entry["n_significant"] == len(controls)
        assert {row["dimension"] for row in entry["largest"][: len(controls)]} == set(controls)
    constant = rows[rows.concept == named("constant")]
    assert not constant.effect.any()
    assert constant.effect_size.isna().all()


def test_observational_correlations_agree_with_the_effects(planted_dimensions):
    rows = planted_dimensions.table("latents")
    for concept, controls in CONTROLS.items():
        part = rows[(rows.concept == named(concept)) & (rows.space == "latent")]
        observed = part.groupby("dimension").observed_correlation.mean()
        for index, sign in controls.items():
            assert sign * observed[index] > 0.3
        assert observed.drop(list(controls)).abs().max() < 0.2
    assert rows[rows.space == "embedding"].observed_correlation.isna().all()


def test_closed_forms_predict_the_planted_channels(planted_dimensions):
    entries = predictions_summary(planted_dimensions.table("latent_predictions"), ClassResamples(0, 100))
    (latent,) = [row for row in entries if (row["space"], row["target"]) == ("latent", "activations")]
    assert latent["rank_correlation"] > 0.9
    assert abs(latent["null_mean"]) < 0.2


def test_rows_are_those_by_hand():
    lab = Lab.from_spec(dataclasses.replace(SMALL, classes=(3,)), RunOptions(), ("evaluator",))
    options = dataclasses.replace(SMALL, latent_samples=3)
    answers = responses_of(lab, options, 3)
    z = lab.latents(3, 3).clone()
    means = []
    for value in SMALL.latent_grid:
        z[:, 1] = value
        images, probabilities = lab.images(3, z)
        means.append((images.mean(dim=(1, 2, 3)).numpy() + 1) / 2)
        odds = np.log(probabilities / (1 - probabilities))
        np.testing.assert_allclose(answers.responses.scores[:, 1, len(means) - 1, 0], odds, rtol=1e-3)
    slopes = [stats.linregress(SMALL.latent_grid, column).slope for column in np.transpose(means)]
    brightness = 1
    assert answers.effects.effect[1, brightness] == pytest.approx(np.mean(slopes), rel=1e-4)
    assert answers.effects.effect_stderr[1, brightness] == pytest.approx(stats.sem(slopes), rel=1e-3)


def test_results_of_a_class_do_not_depend_on_other_classes(tmp_path):
    spec = dataclasses.replace(SMALL, stages=("latents", "directions"), real_images="")
    small_audit(tmp_path / "one", dataclasses.replace(spec, classes=(7,)))
    small_audit(tmp_path / "two", dataclasses.replace(spec, classes=(1, 7)), batch_size=16)
    for table in (
        "latents",
        "dimension_changes",
        "latent_predictions",
        "directions",
        "controlling_sets",
        "translations",
    ):
        one, two = (Manifest.read(tmp_path / name).table(table) for name in ("one", "two"))
        two = two[two.class_id == 7].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)


def test_a_concept_that_few_images_show_has_no_deviation():
    scores = np.zeros((40, 3))
    scores[:3, 0] = 0.01
    scores[:5, 1] = 0.01
    scores[:, 2] = np.arange(40)
    deviation = deviation_of(scores)
    assert deviation[0] == 0
    assert deviation[1] == pytest.approx(scores[:, 1].std(ddof=1))
    assert deviation[2] == pytest.approx(scores[:, 2].std(ddof=1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latent_dimensions": (64,)}, r"latent_dimensions must be in 0\.\.63"),
        ({"latent_grid": (1.0,)}, "at least two ascending"),
        ({"latent_grid": (1.0, -1.0)}, "at least two ascending"),
        ({"latent_spaces": ()}, "latent_spaces must name"),
        ({"latent_spaces": ("latent", "latent")}, "latent_spaces must name"),
        ({"latent_concepts": ("colour",)}, "latent_concepts must be among"),
        ({"latent_concepts": ("areas",)}, "without a segmenter"),
        ({"latent_concepts": ("no.such:function",)}, "must be an importable"),
        ({"latent_concepts": ("class", "class")}, "different names"),
        ({"latent_concepts": ("tests.planted_dimensions:wrong",)}, "must return"),
        ({"direction_strengths": (2.0, 1.0)}, "direction_strengths must ascend"),
    ],
)
def test_bad_options_are_one_line(tmp_path, options, words):
    spec = dataclasses.replace(SMALL, classes=(0,), stages=("latents", "directions"), **options)
    with pytest.raises(InputError, match=words) as fault:
        small_audit(tmp_path / "audit", spec)
    assert "\n" not in str(fault.value)


def test_other_code_of_a_function_is_another_concept(tmp_path, monkeypatch):
    """Its results are refused, and replaced if that is asked for; a comment elsewhere in its module changes nothing."""
    module = tmp_path / "my_concepts.py"
    monkeypatch.syspath_prepend(tmp_path)
    spec = dataclasses.replace(
        SMALL,
        classes=(0,),
        stages=("latents",),
        latent_concepts=("my_concepts:darkness",),
        latent_dimensions=(0,),
        latent_samples=2,
    )

    def write(content):
        module.write_text(content)
        linecache.clearcache()
        importlib.invalidate_caches()
        sys.modules.pop("my_concepts", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)

    write("def darkness(images):\n    return -images.mean(dim=(1, 2, 3))\n")
    folder = tmp_path / "audit"
    small_audit(folder, spec)
    before = Manifest.read(folder).table("latents").effect
    write("# mine\n\ndef darkness(images):\n    return -images.mean(dim=(1, 2, 3))\n")
    assert small_audit(folder, spec).computed == 0
    write("def darkness(images):\n    return -2 * images.mean(dim=(1, 2, 3))\n")
    with pytest.raises(InputError, match="has latents by other code of my_concepts:darkness, or with or without a"):
        small_audit(folder, spec)
    assert small_audit(folder, spec, replace=("latents",)).computed == 1
    np.testing.assert_allclose(Manifest.read(folder).table("latents").effect, 2 * before, rtol=1e-5)
