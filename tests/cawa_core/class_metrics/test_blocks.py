"""Blockwise metrics against naive ones over whole matrices, including ties, duplicates and overflow."""

import numpy as np
import pytest
import torch

from cawa_core.class_metrics import kernel, manifold, ms_ssim
from cawa_core.class_metrics.kernel import kernel_distance
from cawa_core.class_metrics.manifold import _Bounds, _Points, manifold_metrics
from cawa_core.class_metrics.ms_ssim import pairwise_ms_ssim, scale_weights
from tests.cawa_core.class_metrics.test_class_metrics import features, smooth_images


def distances(one, other):
    """Squared, float64, by differences: ``[n, m]``."""
    return (one.double()[:, None] - other.double()[None]).square().sum(dim=2)


def naive_manifold_metrics(real, fake, neighbours):
    """By the definitions, with all distances at once; a point on a ball's edge is inside."""
    radii = [
        distances(part, part).fill_diagonal_(np.inf).sort(dim=1).values[:, neighbours - 1] for part in (real, fake)
    ]
    across = distances(real, fake)
    in_real, in_fake = across <= radii[0][:, None], across <= radii[1][None]
    return {
        "precision": float(in_real.any(dim=0).double().mean()),
        "recall": float(in_fake.any(dim=1).double().mean()),
        "density": float(in_real.sum(dim=0).double().mean() / neighbours),
        "coverage": float(in_real.any(dim=1).double().mean()),
    }


def integers(n, dim, seed):
    """Points of a lattice: many ties, all of them exact."""
    return torch.randint(0, 3, (n, dim), generator=torch.Generator().manual_seed(seed)).float()


def collapsed(n, dim, seed):
    """One point over and over, and some near it by less than float32 can tell from the matrix product."""
    near = features(n, dim, seed) * 1e-5 + 100
    near[::3] = near[0]
    return near


SETS = {
    "plain": (features(150, 12, 0), features(130, 12, 1, shift=0.25)),
    "wide": (features(60, 3000, 0).relu(), features(50, 3000, 0).relu() * 1.01),
    "lattice": (integers(200, 4, 0), integers(180, 4, 1)),
    "duplicates": (
        features(40, 9, 0).repeat(4, 1),
        torch.cat([features(40, 9, 0)[:20].repeat(5, 1), features(30, 9, 1)]),
    ),
    "the same": (features(90, 9, 0), features(90, 9, 0)),
    "collapsed": (collapsed(80, 20, 0), collapsed(70, 20, 0)),
    "far off": (features(80, 20, 0) + 1e4, features(70, 20, 1) + 1e4),
    "tiny": (features(80, 20, 0) * 1e-21, features(70, 20, 1) * 1e-21),
    "beyond float32": (features(80, 20, 0).double() * 1e30, features(70, 20, 1).double() * 1e30),
    "outlier": (torch.cat([features(80, 20, 0), torch.full((1, 20), 1e8)]), features(70, 20, 1)),
}


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize("name", SETS)
def test_manifold_metrics_are_exactly_the_naive_ones(name, neighbours, monkeypatch):
    real, fake = SETS[name]
    expected = naive_manifold_metrics(real, fake, neighbours)
    for block in (manifold.BLOCK_PAIRS, 1000, 1):
        monkeypatch.setattr(manifold, "BLOCK_PAIRS", block)
        ours = manifold_metrics(real=real, fake=fake, neighbours=neighbours)
        for metric, value in expected.items():
            assert getattr(ours, metric) == pytest.approx(value, abs=1e-12), metric


@pytest.mark.parametrize("name", [name for name in SETS if name != "beyond float32"])
def test_bounds_hold_every_distance(name):
    """And leave few open where points are in general position."""
    real, fake = SETS[name]
    centre = real.double().mean(dim=0)
    bounds, exact = _Bounds.between(_Points.of(real, centre), _Points.of(fake, centre)), distances(real, fake)
    assert (bounds.low <= exact).all()
    assert (exact <= bounds.high).all()
    if name in ("plain", "wide"):
        assert ((bounds.high - bounds.low) / exact).median() < 1e-3


@pytest.mark.parametrize("name", ["collapsed", "tiny"])
def test_float32_distances_alone_would_be_wrong(name, monkeypatch):
    """What the float64 distances are there for: without them these sets come out otherwise."""
    monkeypatch.setattr(_Bounds, "exact", lambda bounds, pairs: ((bounds.low + bounds.high) / 2)[pairs].double())
    real, fake = SETS[name]
    ours = manifold_metrics(real=real, fake=fake, neighbours=3)
    expected = naive_manifold_metrics(real, fake, 3)
    assert {metric: getattr(ours, metric) for metric in expected} != pytest.approx(expected, abs=1e-12)


def test_manifold_metrics_refuse_bad_input():
    rows = features(10, 4, 0)
    with pytest.raises(ValueError, match="neighbours must be at least 1; got 0"):
        manifold_metrics(real=rows, fake=rows, neighbours=0)
    with pytest.raises(ValueError, match="the same number of dimensions; got 4 and 3"):
        manifold_metrics(real=rows, fake=rows[:, :3], neighbours=3)
    with pytest.raises(ValueError, match=r"fake must be features \[n, d\]; got shape \[4\]"):
        manifold_metrics(real=rows, fake=rows[0], neighbours=3)


def naive_kernel_distance(real, fake):
    """Bińkowski et al. (2018), eq. 4."""
    real, fake = real.double(), fake.double()
    within = []
    for part in (real, fake):
        values, n = (part @ part.T / part.shape[1] + 1) ** 3, len(part)
        within.append((values.sum() - values.trace()) / (n * (n - 1)))
    return float(sum(within) - 2 * ((real @ fake.T / real.shape[1] + 1) ** 3).mean())


@pytest.mark.parametrize("block", [1, 7, 50, 2048])
def test_kid_is_the_same_whatever_the_blocks(block, monkeypatch):
    real, fake = features(60, 8, 0), features(101, 8, 1, shift=0.2)
    monkeypatch.setattr(kernel, "BLOCK_ROWS", block)
    assert kernel_distance(real=real, fake=fake) == pytest.approx(naive_kernel_distance(real, fake), rel=1e-12)


def test_kid_takes_the_first_samples(monkeypatch):
    real, fake = features(60, 8, 0), features(101, 8, 1, shift=0.2)
    monkeypatch.setattr(kernel, "KERNEL_SAMPLES", 50)
    assert kernel_distance(real=real, fake=fake) == pytest.approx(
        naive_kernel_distance(real[:50], fake[:50]), rel=1e-12
    )


def test_kid_refuses_bad_input():
    rows = features(10, 4, 0)
    with pytest.raises(ValueError, match=r"fake must be features \[n >= 2, d\]; got shape \[1, 4\]"):
        kernel_distance(real=rows, fake=rows[:1])
    with pytest.raises(ValueError, match="the same number of dimensions; got 4 and 3"):
        kernel_distance(real=rows, fake=rows[:, :3])


def naive_terms(one, other, with_luminance):
    """Contrast and structure, Wang et al. (2003), of two images ``[C, H, W]`` in [0, 1] by a 2-d window, float64."""
    offsets = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-offsets.square() / (2 * 1.5**2))
    window = (window / window.sum())[:, None] * (window / window.sum())

    def blur(x):
        return torch.nn.functional.conv2d(x[:, None], window[None, None])

    mean, other_mean = blur(one), blur(other)
    variance, other_variance = blur(one**2) - mean**2, blur(other**2) - other_mean**2
    terms = (2 * (blur(one * other) - mean * other_mean) + 0.03**2) / (variance + other_variance + 0.03**2)
    luminance = (2 * mean * other_mean + 0.01**2) / (mean**2 + other_mean**2 + 0.01**2)
    return float((terms * luminance if with_luminance else terms).mean())


def naive_ms_ssim(images):
    """Mean and clamped terms over all pairs, one pair at a time."""
    values, clamped, weights = [], 0, scale_weights(min(images.shape[2:]))
    for a, b in torch.combinations(torch.arange(len(images))).tolist():
        one, other, value = (images[a].double() + 1) / 2, (images[b].double() + 1) / 2, 1.0
        for scale, weight in enumerate(weights):
            term = naive_terms(one, other, scale == len(weights) - 1)
            clamped, value = clamped + (term < 0), value * max(term, 0) ** weight
            one, other = (torch.nn.functional.avg_pool2d(image, 2) for image in (one, other))
        values.append(value)
    return np.mean(values), clamped


def flat_images(n, side):
    """White on black, as most of Fashion-MNIST: where variances vanish, float32 has least to work with."""
    images = smooth_images(n, side)
    return torch.where(images > 0.2, images, -1.0)


@pytest.mark.parametrize("make", [smooth_images, flat_images])
@pytest.mark.parametrize(("n", "side"), [(8, 11), (8, 28), (7, 45), (5, 64), (4, 110), (3, 192)])
def test_ms_ssim_by_float32_is_the_naive_one_by_float64(make, n, side):
    result, (mean, clamped) = pairwise_ms_ssim(make(n, side)), naive_ms_ssim(make(n, side))
    assert result.mean == pytest.approx(mean, abs=1e-6)
    assert result.n_clamped == clamped


def test_ms_ssim_of_oblong_images_in_colour():
    images = torch.cat([smooth_images(4, 64)[:, :, :39], -smooth_images(4, 64)[:, :, 20:59]]).unflatten(0, (4, 2))[
        :, :, 0
    ]
    images = torch.cat([images, images.roll(3, dims=3)[:, :1]], dim=1)
    assert images.shape == (4, 3, 39, 64)
    assert pairwise_ms_ssim(images).mean == pytest.approx(naive_ms_ssim(images)[0], abs=1e-6)


@pytest.mark.parametrize("size", [1, 3000, 50_000, 10**9])
def test_ms_ssim_is_the_same_whatever_the_groups(size, monkeypatch):
    images = smooth_images(9, 28)
    expected = pairwise_ms_ssim(images)
    monkeypatch.setattr(ms_ssim, "GROUP_BYTES", {"cpu": size})
    result = pairwise_ms_ssim(images)
    assert result.mean == pytest.approx(expected.mean, rel=1e-6)
    assert (result.n_pairs, result.n_clamped) == (36, expected.n_clamped)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_equal_flat_images_are_alike(level):
    """No variance anywhere: the terms are one, at any brightness."""
    assert pairwise_ms_ssim(torch.full((3, 1, 64, 64), level)).mean == pytest.approx(1, abs=1e-6)
