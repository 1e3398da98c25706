"""Class metrics in an audit: their rows against the pictures, the awareness table and the real images."""

import dataclasses

import numpy as np
import pytest
import torch

from cawa_core.class_metrics.class_pair import metrics_of_class
from cawa_core.class_metrics.class_sample import ClassSampler, Kept
from cawa_core.class_metrics.records import METRICS
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL
from workflows.analyses.class_metrics.work import total_awareness
from workflows.lab import Lab
from workflows.options.run import RunOptions
from workflows.running.job import Job


@pytest.fixture(scope="module")
def manifest(audited):
    return Manifest.read(audited)


@pytest.fixture(scope="module")
def lab():
    return Lab.open(needs=("evaluator", "fid_features", "manifold_features", "real_images"), classes=[8])


def sample_of(lab, images, limit):
    """Summarise images of a class as an audit does, in one pass over all of them."""
    features = lab.evaluator.features(images).float()
    predicted = lab.evaluator.log_probabilities(images).argmax(dim=1)
    sampler = ClassSampler(8, Kept(manifold_features=limit, images=SMALL.ms_ssim_samples))
    sampler.add(dict.fromkeys(lab.networks, features) | {"predicted": predicted}, images)
    return sampler.sample()


@torch.inference_mode()
def test_metrics_are_those_of_the_pictures(manifest, lab):
    """By hand from all generated and all real images of one class."""
    z = lab.latents(8, SMALL.metric_samples)
    fakes = lab.generator(z, class_ids_of(8, z))
    reals = torch.cat(list(lab.real_images.batches_of(8, 1000)))
    expected = metrics_of_class(
        real=sample_of(lab, reals, SMALL.metric_samples),
        fake=sample_of(lab, fakes, SMALL.metric_samples),
        neighbours=SMALL.neighbours,
    )
    table = manifest.table("class_metrics")
    (row,) = table[table.class_id == 8].to_dict("records")
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    assert (row["n_real"], row["n_fake"]) == (len(reals), SMALL.metric_samples)


def test_total_awareness_is_the_sum_over_the_awareness_table(manifest, lab):
    awareness = manifest.table("awareness")
    reaching = awareness[(awareness.estimator == "closed_form") & ~awareness.inert]
    totals = reaching.category_awareness.abs().groupby(reaching.class_id).sum()
    metrics = manifest.table("class_metrics").set_index("class_id")
    np.testing.assert_allclose(metrics.total_awareness, totals[metrics.index], rtol=1e-5)
    assert total_awareness(lab, 8) == pytest.approx(metrics.total_awareness[8], rel=1e-6)


def test_the_floor_compares_halves_of_the_real_images(manifest):
    floor = manifest.table("class_metric_floor")
    assert set(floor.comparison) == {"real_real", "fake_real"}
    assert list(floor.groupby("comparison").size()) == [len(SMALL.classes)] * 2
    assert set(floor.n_fake) == {SMALL.metric_samples // 2}
    means = floor.groupby("comparison")[[metric.name for metric in METRICS]].mean()
    assert means.fid["real_real"] < means.fid["fake_real"]
    assert means.recall["real_real"] > means.recall["fake_real"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neighbours": 30}, "neighbours must be below half of metric_samples=60; got 30"),
        ({"real_images": ""}, "real_images must be given for fashion-biggan: stage class_metrics needs it"),
    ],
)
def test_options_that_do_not_go_together(changes, message):
    with pytest.raises(InputError, match=message):
        Job.open(dataclasses.replace(SMALL, stages=("class_metrics",), **changes), RunOptions())


def test_pictures_too_small_for_ms_ssim(monkeypatch, lab):
    monkeypatch.setattr(lab.generator, "image_size", 8)
    spec = dataclasses.replace(SMALL, stages=("class_metrics",))
    job = Job(lab, spec)
    with pytest.raises(
        InputError, match="must make images of 11 pixels at least for MS-SSIM; got 8: leave class_metrics"
    ):
        job.work("class_metrics").check(lab, spec)


def test_too_few_real_images(monkeypatch, lab):
    monkeypatch.setattr(type(lab.real_images), "count_of", lambda *_: 7)
    with pytest.raises(InputError, match=r"real_images must be at least 8 per class, .* class 8 has 7: add some"):
        Job(lab, SMALL).work("class_metrics").check(lab, SMALL)
