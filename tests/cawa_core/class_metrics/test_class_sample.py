"""A sampler's result for a stream against that for all images at once."""

import numpy as np
import pytest
import torch

from cawa_core.class_metrics.class_pair import metrics_of_class, protocol
from cawa_core.class_metrics.class_sample import ClassSampler, Kept
from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.moments import Moments
from cawa_core.class_metrics.ms_ssim import pairwise_ms_ssim
from tests.cawa_core.class_metrics.test_class_metrics import features, smooth_images

KEPT = Kept(manifold_features=30, images=6, fid_features=50)


def judged(n, seed):
    predicted = torch.randint(5, (n,), generator=torch.Generator().manual_seed(seed))
    parts = [features(n, dim, seed, shift=0.1 * seed) for dim in (5, 7, 9)]
    return dict(zip(("evaluator", "fid_features", "manifold_features"), parts, strict=True)) | {"predicted": predicted}


def sampled(seen, images, batch, limit=None, kept=KEPT):
    sampler = ClassSampler(3, kept, limit)
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        sampler.add({role: rows[part] for role, rows in seen.items()}, images[part])
    return sampler.sample()


@pytest.mark.parametrize("batch", [1, 7, 120])
def test_a_sample_of_a_stream_gives_the_metrics_of_all_images(batch):
    seen, images = judged(120, 1), smooth_images(120, 28)
    real, fake = sampled(judged(40, 0), smooth_images(40, 28), 40), sampled(seen, images, batch)
    metrics = metrics_of_class(real=real, fake=fake, neighbours=3)
    real_seen = judged(40, 0)
    manifold = manifold_metrics(
        real=real_seen["manifold_features"][:30], fake=seen["manifold_features"][:30], neighbours=3
    )
    assert [metrics[name] for name in ("precision", "recall", "density", "coverage")] == [
        manifold.precision,
        manifold.recall,
        manifold.density,
        manifold.coverage,
    ]
    whole = frechet_distance(real=real_seen["fid_features"], fake=seen["fid_features"])
    assert isinstance(fake.fid_statistics, Moments)
    assert metrics["fid"] == pytest.approx(whole, rel=1e-9)
    assert metrics["kid"] == kernel_distance(real=real_seen["fid_features"], fake=seen["fid_features"][:50])
    assert metrics["ms_ssim"] == pairwise_ms_ssim(images[:6]).mean
    assert metrics["classifier_accuracy"] == pytest.approx(float((seen["predicted"] == 3).double().mean()), rel=1e-15)
    assert fake.predictions == dict(
        zip(*map(torch.Tensor.tolist, seen["predicted"].unique(return_counts=True)), strict=True)
    )
    assert (metrics["n_real"], metrics["n_fake"]) == (40, 120)
    np.testing.assert_allclose(fake.centroid, seen["evaluator"].double().mean(dim=0), rtol=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 120])
@pytest.mark.parametrize("limit", [2, 14, 70, 500])
def test_a_limit_takes_the_first_images_alone(batch, limit):
    seen, images = judged(120, 1), smooth_images(120, 28)
    limited = sampled(seen, images, batch, limit)
    first = sampled({role: rows[:limit] for role, rows in seen.items()}, images[:limit], 120)
    assert (limited.n_images, limited.classifier_accuracy) == (min(limit, 120), first.classifier_accuracy)
    for name in ("fid_features", "manifold_features", "images"):
        assert torch.equal(getattr(limited, name), getattr(first, name)), name
    np.testing.assert_allclose(limited.centroid, first.centroid, rtol=1e-12)
    assert (limited.later_fid_features is None) == (limit <= 50)


def test_a_sample_keeps_no_more_than_it_says():
    """Views of earlier batches count, too."""
    fake = sampled(judged(120, 1), smooth_images(120, 28), 40)
    sizes = {"fid_features": 50 * 7, "manifold_features": 30 * 9, "images": 6 * 28 * 28}
    for name, size in sizes.items():
        assert getattr(fake, name).untyped_storage().nbytes() == 4 * size, name
    assert fake.later_fid_features.count == 70


def test_fewer_images_than_are_kept_are_all_there():
    real = sampled(judged(20, 0), smooth_images(20, 28), 8)
    assert (len(real.fid_features), len(real.manifold_features), real.later_fid_features) == (20, 20, None)
    assert real.fid_statistics is real.fid_features


def test_a_sample_without_images():
    with pytest.raises(ValueError, match="a class sample must hold at least 1 image; got none"):
        ClassSampler(3, KEPT).sample()


def test_metrics_are_those_of_float32_whatever_the_networks_compute_in():
    real, fake = (sampled(judged(n, seed), smooth_images(n, 28), n) for n, seed in ((40, 0), (60, 1)))
    expected = metrics_of_class(real=real, fake=fake, neighbours=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert metrics_of_class(real=real, fake=fake, neighbours=3) == expected


def test_the_protocol_says_what_is_compared():
    text = protocol({"evaluator": "A", "fid_features": "A"}, 3, 28, 100)
    assert "KID cubic, up to 10000 samples" in text
    assert "MS-SSIM of up to 100 images, 2 scales" in text
