"""Realism against its definition, pair by pair."""

import math

import numpy as np
import pytest
import torch

from cawa_core.class_metrics.realism import RealManifold, device_with_room


def by_definition(real, fake, k):
    radii = [sorted(np.linalg.norm(one - real, axis=1))[k] for one in real]
    median = sorted(radii)[(len(radii) - 1) // 2]
    balls = [(centre, radius) for centre, radius in zip(real, radii, strict=True) if radius <= median]
    return [max(radius / np.linalg.norm(centre - one) for centre, radius in balls) for one in fake]


def test_realism_equals_its_definition():
    random = np.random.default_rng(0)
    real, fake = random.standard_normal((301, 7)), random.standard_normal((40, 7)) * 2
    found = RealManifold.of(torch.tensor(real), 3).realism(torch.tensor(fake))
    np.testing.assert_allclose(found, by_definition(real, fake, 3), rtol=1e-12)


def test_a_real_image_is_as_real_as_can_be():
    real = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    manifold = RealManifold.of(real, 3)
    assert manifold.realism(manifold.centres[:2]).tolist() == [math.inf, math.inf]
    assert manifold.realism(torch.full((1, 4), 100.0)).item() < 0.05


def test_the_manifold_is_on_the_device_of_the_networks_if_memory_allows(monkeypatch):
    real, gpu = torch.zeros(2600, 2048), torch.device("cuda", 0)
    assert device_with_room(real, torch.device("cpu")) == torch.device("cpu")
    for free, expected in ((2**30, gpu), (2**27, torch.device("cpu"))):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2**34))
        assert device_with_room(real, gpu) == expected


@pytest.mark.parametrize("neighbours", [0, 5])
def test_too_few_real_images(neighbours):
    with pytest.raises(ValueError, match=r"neighbours must be in 1\.\.4 for 5 real images"):
        RealManifold.of(torch.zeros(5, 2), neighbours)
