import numpy as np
import torch

from cawa_core.numerics.latents import standard_normal
from cawa_core.numerics.seeds import random_generator


def test_a_latent_depends_on_seed_class_and_index_alone():
    together = standard_normal(3, 7, range(200), 5)
    apart = torch.cat([standard_normal(3, 7, [index], 5) for index in (0, 63, 64, 199)])
    assert torch.equal(together[[0, 63, 64, 199]], apart)
    assert torch.equal(standard_normal(3, 7, [70, 2], 5), together[[70, 2]])


def test_other_seeds_classes_and_purposes_differ():
    base = standard_normal(0, 0, range(4), 3)
    for other in (standard_normal(1, 0, range(4), 3), standard_normal(0, 1, range(4), 3)):
        assert not torch.equal(base, other)
    draws = [
        random_generator(0, 0, 0, purpose).random()
        for purpose in ("latent", "latent code", "a long purpose 1", "a long purpose 2")
    ]
    assert len(set(draws)) == 4


def test_latents_are_standard_normal():
    values = standard_normal(0, 0, range(4000), 8).numpy()
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / values.size)
    correlation = np.corrcoef(values.T) - np.eye(8)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)
