"""Each metric against an independent library on random features or images, and at its limits."""

import numpy as np
import prdc
import pytest
import pytorch_msssim
import torch
from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.fid import _compute_fid

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.ms_ssim import pairwise_ms_ssim, scale_weights, usable_scales


def features(n, dim, seed, shift=0.0):
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=random) / dim**0.5
    return torch.randn(n, dim, generator=random) @ mixing + shift


@pytest.mark.parametrize(("n_real", "n_fake", "dim"), [(300, 200, 24), (60, 50, 100), (300, 40, 100), (40, 300, 100)])
def test_fid_equals_torchmetrics_and_torch_fidelity(n_real, n_fake, dim):
    real, fake = features(n_real, dim, 0), features(n_fake, dim, 1, shift=0.3)
    ours = frechet_distance(real=real, fake=fake)
    moments = [value for part in (real, fake) for value in (part.double().mean(dim=0), torch.cov(part.double().T))]
    torchmetrics = float(_compute_fid(moments[0], moments[1], moments[2], moments[3]))
    assert ours == pytest.approx(torchmetrics, rel=1e-4)
    if min(n_real, n_fake) > dim:  # torch-fidelity's matrix square root wants full rank
        statistics = [fid_features_to_statistics(part) for part in (real, fake)]
        fidelity = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        assert ours == pytest.approx(fidelity, rel=1e-4)


def test_fid_limits():
    real = features(200, 30, 0)
    assert frechet_distance(real=real, fake=real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(real=real, fake=real + 2) == pytest.approx(30 * 4, rel=1e-6)
    assert frechet_distance(real=real[:20], fake=real[:20]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"fake must be features \[n >= 2, d\]"):
        frechet_distance(real=real, fake=real[:1])


def test_kid_equals_torch_fidelity():
    """All samples in one subset, so that torch-fidelity's subsets are the whole sets."""
    real, fake = features(120, 16, 0), features(120, 16, 1, shift=0.2)
    theirs = kid_features_to_metric(real, fake, kid_subsets=1, kid_subset_size=120, verbose=False)
    assert kernel_distance(real=real, fake=fake) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)


def test_kid_of_one_distribution_is_about_zero():
    """Unbiased: the mean over draws is zero within 4 standard errors."""
    values = [
        kernel_distance(real=features(60, 8, 0), fake=features(60, 8, 0)[torch.randperm(60)][:59]) for _ in range(3)
    ]
    assert max(values) < 0  # a set against itself lies below zero for an unbiased estimate
    draws = torch.randn(40, 2, 80, 8, generator=torch.Generator().manual_seed(3))
    estimates = np.array([kernel_distance(real=one[0], fake=one[1]) for one in draws])
    assert abs(estimates.mean()) < 4 * estimates.std() / np.sqrt(len(estimates))


@pytest.mark.parametrize("neighbours", [3, 5])
def test_manifold_metrics_equal_prdc(neighbours):
    real, fake = features(150, 12, 0), features(130, 12, 1, shift=0.25)
    ours = manifold_metrics(real=real, fake=fake, neighbours=neighbours)
    theirs = prdc.compute_prdc(real.double().numpy(), fake.double().numpy(), nearest_k=neighbours)
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12)


def test_a_collapsed_fake_set_is_precise_and_recalls_nothing():
    """This fails if precision and recall are swapped."""
    real = features(400, 6, 0)
    fake = real[:1] + 1e-3 * torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
    metrics = manifold_metrics(real=real, fake=fake, neighbours=3)
    assert metrics.precision > 0.99
    assert metrics.recall < 0.01
    assert metrics.coverage < 0.05


def test_a_set_covers_itself():
    real = features(100, 6, 0)
    metrics = manifold_metrics(real=real, fake=real, neighbours=3)
    assert (metrics.precision, metrics.recall, metrics.coverage) == (1, 1, 1)
    with pytest.raises(ValueError, match="real must hold more than neighbours=3 features; got 3"):
        manifold_metrics(real=real[:3], fake=real, neighbours=3)


def two_scale_ms_ssim(one, other):
    """From pytorch-msssim's own terms: contrast and structure at the first scale, whole SSIM at the second."""
    window = _fspecial_gauss_1d(11, 1.5).repeat(1, 1, 1, 1)
    _, first = _ssim(one, other, data_range=1.0, win=window)
    halves = [torch.nn.functional.avg_pool2d(image, 2) for image in (one, other)]
    second, _ = _ssim(*halves, data_range=1.0, win=window)
    weights = scale_weights(28)
    return float((first.relu() ** weights[0] * second.relu() ** weights[1]).mean())


def test_ms_ssim_equals_pytorch_msssim_on_small_images():
    """28 pixels: two scales."""
    images = smooth_images(6, 28)
    assert usable_scales(28) == 2
    pairs = [(a, b) for a in range(6) for b in range(a + 1, 6)]
    theirs = [two_scale_ms_ssim((images[[a]] + 1) / 2, (images[[b]] + 1) / 2) for a, b in pairs]
    result = pairwise_ms_ssim(images)
    assert result.n_pairs == len(pairs)
    assert result.mean > 0.05
    assert result.mean == pytest.approx(np.mean(theirs), abs=1e-5)


def test_ms_ssim_equals_pytorch_msssim_on_large_images():
    """192 pixels: all five scales of Wang et al."""
    images = smooth_images(3, 192)
    assert usable_scales(192) == 5
    theirs = [
        float(
            pytorch_msssim.ms_ssim(
                (images[[a]] + 1) / 2, (images[[b]] + 1) / 2, data_range=1.0, weights=scale_weights(192)
            )
        )
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert pairwise_ms_ssim(images).mean == pytest.approx(np.mean(theirs), abs=1e-4)


def test_ms_ssim_limits():
    images = smooth_images(2, 64)
    assert pairwise_ms_ssim(images[[0, 0, 0]]).mean == pytest.approx(1)
    opposite = pairwise_ms_ssim(torch.cat([images[:1], -images[:1]]))
    assert opposite.n_clamped > 0
    assert np.isfinite(opposite.mean)
    with pytest.raises(ValueError, match="images must be"):
        pairwise_ms_ssim(torch.zeros(2, 1, 10, 10))


def smooth_images(n, side):
    random = torch.Generator().manual_seed(side)
    coarse = torch.rand(n, 1, side // 4, side // 4, generator=random)
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (fine + 0.1 * torch.rand(n, 1, side, side, generator=random)).clamp(0, 1) * 2 - 1
