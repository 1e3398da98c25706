"""Ticked images: what they share stands out among what varies."""

import numpy as np
import pytest

from cawa_core.directions.ticks import MOST_DEVIATIONS, shared
from cawa_core.errors import InputError


def test_a_planted_channel_comes_first():
    random = np.random.default_rng(0)
    values = random.standard_normal((8, 500))
    values[:, 123] = 1.5 + 0.2 * random.standard_normal(8)
    values[:, 77] = -1.5 + 0.2 * random.standard_normal(8)
    result = shared(values)
    assert set(result.order[:2]) == {123, 77}
    assert result.mean[77] < 0 < result.mean[123]


def test_two_images_that_agree_by_chance_do_not_win():
    """Of two images, some channel agrees nearly exactly; only a mean far from the class's counts."""
    values = np.array([[0.3, 2.0], [0.3, 2.4]])
    assert shared(values).order[0] == 1


def test_values_are_clipped_and_unknown_ones_count_as_the_mean():
    result = shared(np.array([[1e9, np.nan], [1e9, np.nan]]))
    assert result.mean.tolist() == [MOST_DEVIATIONS, 0]


def test_one_image_is_not_enough():
    with pytest.raises(InputError, match="at least 2"):
        shared(np.zeros((1, 3)))
