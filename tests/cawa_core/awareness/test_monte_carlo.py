"""The columns of sampled awareness against NumPy's own statistics of the same gains and offsets."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from cawa_core.awareness import awareness_of_samples, closed_form_awareness, monte_carlo, monte_carlo_awareness
from cawa_core.awareness.result import Awareness
from cawa_core.generators.base import AffineMap, Modulation

COLUMNS = [field.name for field in dataclasses.fields(Awareness)]
PAPER = ("category_awareness", "category_awareness_stderr", "latent_awareness")


def random_modulation(channels=37, spread=0.4):
    """Gains that cross zero in some channels and not in others."""
    random = torch.Generator().manual_seed(3)
    rising = torch.linspace(0, spread, channels)[:, None]
    gain, offset = torch.randn(2, channels, 12, generator=random)
    maps = (AffineMap(torch.ones(channels), 0.1 * gain[:, :4], rising * gain[:, 4:]),)
    return Modulation(*maps, AffineMap(torch.zeros(channels), 0.3 * offset[:, :4], 0.2 * offset[:, 4:]))


def plain_statistics(gain, offset):
    """Gain and offset ``[n, C]`` => columns ``[C]``, one definition a line."""
    ratio, t = offset / gain, offset / np.abs(gain)
    lower, upper = np.quantile(ratio, [0.25, 0.75], axis=0)
    density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    return {
        "category_awareness": ratio.mean(axis=0),
        "category_awareness_stderr": ratio.std(axis=0, ddof=1) / np.sqrt(len(gain)),
        "latent_awareness": ratio.var(axis=0, ddof=1),
        "latent_awareness_robust": ((upper - lower) / 1.3489795003921634) ** 2,
        "gain_sign_probability": (gain <= 0).mean(axis=0),
        "activation_probability": ndtr(t).mean(axis=0),
        "expected_activation": (offset * ndtr(t) + np.abs(gain) * density).mean(axis=0),
    }


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 101, 2000])
def test_every_column_equals_its_definition(n):
    """Sums of n float64 values in another order: 1e-12, of the largest channel where values cancel."""
    modulation, embeddings = random_modulation(), torch.randn(3, 4)
    z = torch.randn(n, 8, generator=torch.Generator().manual_seed(n))
    found = monte_carlo_awareness(modulation, embeddings, z)
    for index, embedding in enumerate(embeddings.double()):
        gain, offset = (
            affine.double().class_part(embedding) + affine.double().latent_part(z.double())
            for affine in (modulation.gain, modulation.offset)
        )
        alone = awareness_of_samples(gain, offset)
        for name, expected in plain_statistics(gain.numpy(), offset.numpy()).items():
            atol = 1e-13 * np.abs(expected).max()
            np.testing.assert_allclose(getattr(found, name)[index], expected, rtol=1e-10, atol=atol, err_msg=name)
            np.testing.assert_allclose(getattr(alone, name)[0], expected, rtol=1e-10, atol=atol, err_msg=name)


def test_neither_blocks_nor_strips_change_a_number(monkeypatch):
    """Only the product that makes the latent part may round otherwise in another shape."""
    modulation, embeddings, z = random_modulation(), torch.randn(2, 4), torch.randn(300, 8)
    whole = monte_carlo_awareness(modulation, embeddings, z)
    monkeypatch.setattr(monte_carlo, "LATENT_PARTS", 300 * 5)
    monkeypatch.setattr(monte_carlo, "STRIP", 300 * 2)
    pieces = monte_carlo_awareness(modulation, embeddings, z)
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=1e-9)


def test_a_probe_that_is_undefined_is_nan():
    """0/0 in one sample: no mean; the quartiles are those of NumPy's sort, which puts it last."""
    gain, offset = torch.ones(9, 2), torch.arange(18.0).reshape(9, 2)
    gain[0, 0] = 0
    found = awareness_of_samples(gain, offset)
    assert np.isnan(found.category_awareness[0, 0])
    assert np.isfinite(found.category_awareness[0, 1])
    assert found.gain_sign_probability[0].tolist() == [1 / 9, 0]


def test_without_diagnostics_the_paper_s_columns_are_the_same():
    modulation, embeddings, z = random_modulation(), torch.randn(2, 4), torch.randn(300, 8)
    whole, part = (monte_carlo_awareness(modulation, embeddings, z, diagnostics=flag) for flag in (True, False))
    for name in COLUMNS:
        if name in PAPER:
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name), rtol=1e-10)  # summed otherwise
        else:
            assert np.isnan(getattr(part, name)).all()


def test_closed_form_without_diagnostics():
    modulation, embeddings = random_modulation(), torch.randn(5, 4)
    whole, part = (closed_form_awareness(modulation, embeddings, diagnostics=flag) for flag in (True, False))
    for name in COLUMNS:
        if name in ("category_awareness", "latent_awareness_robust"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))
        else:
            assert np.isnan(getattr(part, name)).all()


def test_closed_form_of_a_class_does_not_depend_on_the_others():
    """One class is one block, many are shared between threads; sums in float64 of another order."""
    modulation, embeddings = random_modulation(), torch.randn(7, 4)
    together = closed_form_awareness(modulation, embeddings)
    for index, embedding in enumerate(embeddings.split(1)):
        alone = closed_form_awareness(modulation, embedding)
        for name in ("category_awareness", "latent_awareness_robust", "activation_probability", "expected_activation"):
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(together, name)[index], rtol=1e-8, atol=1e-12)
