"""Strokes painted into images: labels appear where they are painted, and each image is on its own.

That little else changes is tested on ``scenes``, with the stage ``layouts``.
"""

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.interventions import run, run_with_features
from cawa_core.semantics.extractors import LinearExtractor
from cawa_core.semantics.layouts import ANYTHING
from cawa_core.semantics.strokes import SITE_LATENTS, WAYS, repainted, stroke_changes


@pytest.fixture
def extractor(tiny_generator):
    """A map of two categories by the sign of one channel of the fourth site, around its mean."""
    z, ids = tiny_generator.sample_latents(0, 0, range(32)), torch.zeros(32, dtype=torch.int64)
    with torch.no_grad():
        ((features,), _) = run_with_features(tiny_generator, z, ids, [3])
        matrix = torch.zeros(2, features.shape[1])
        channel = int(features.var(dim=(0, 2, 3)).argmax())
        matrix[1, channel] = 5 / float(features[:, channel].std())
        constant = torch.tensor([0.0, -float(matrix[1, channel] * features[:, channel].mean())])
    return LinearExtractor((3,), tiny_generator.image_size, [matrix], constant).requires_grad_(False)


def painted(generator, extractor, z, ids):
    """Paint the category that each image does not have in a square."""
    with torch.no_grad():
        features, images = run_with_features(generator, z, ids, extractor.sites)
        maps = extractor(features).argmax(dim=1)
    strokes = torch.full_like(maps, ANYTHING)
    strokes[:, 8:16, 8:16] = 1 - maps[:, 8:16, 8:16].mode(dim=2).values.mode(dim=1).values[:, None, None]
    return strokes, images, maps


@pytest.mark.parametrize("way", WAYS)
def test_painted_labels_are_read_where_they_were_not(tiny_generator, extractor, way):
    z, ids = tiny_generator.sample_latents(1, 3, range(6)), torch.full((6,), 3)
    strokes, images, maps = painted(tiny_generator, extractor, z, ids)
    edited = repainted(tiny_generator, extractor, strokes, ids, z, way=way, steps=60)
    with torch.no_grad():
        features, after = run_with_features(tiny_generator, edited.z, ids, extractor.sites, edited.changes)
        torch.testing.assert_close(run(tiny_generator, edited.z, ids, edited.changes), after)
    changes = stroke_changes(strokes, (images, after), (maps, extractor(features).argmax(dim=1)))
    assert [change.pixels for change in changes] == [64] * 6
    assert sum(change.after for change in changes) > sum(change.before for change in changes) + 60


@pytest.mark.parametrize("way", WAYS)
def test_each_image_is_edited_on_its_own(tiny_generator, extractor, way):
    z, ids = tiny_generator.sample_latents(1, 3, range(3)), torch.tensor([3, 0, 8])
    strokes, _, _ = painted(tiny_generator, extractor, z, ids)
    together = repainted(tiny_generator, extractor, strokes, ids, z, way=way, steps=8)
    with torch.no_grad():
        images = run(tiny_generator, together.z, ids, together.changes)
    for row in range(3):
        one = slice(row, row + 1)
        alone = repainted(tiny_generator, extractor, strokes[one], ids[one], z[one], way=way, steps=8)
        with torch.no_grad():
            image = run(tiny_generator, alone.z, ids[one], alone.changes)
        assert (image - images[one]).abs().max() < 0.01  # Adam divides gradients that are nothing but rounding


def test_changes_are_counted_by_hand():
    strokes = torch.full((1, 2, 2), ANYTHING)
    strokes[0, 0] = 3
    before, after = torch.tensor([[[3, 1], [1, 2]]]), torch.tensor([[[3, 3], [1, 1]]])
    images = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.5, 1.5], [0.2, 0.0]]]])
    (change,) = stroke_changes(strokes, images, (before, after))
    assert (change.pixels, change.before, change.after) == (2, 1, 2)
    assert (change.outside_pixels, change.outside_kept) == (2, 1)
    assert change.change == pytest.approx(0.5)
    assert change.outside_change == pytest.approx(0.05)


def test_latents_of_sites_need_a_generator_that_takes_them(tiny_generator, extractor, monkeypatch):
    monkeypatch.setattr(type(tiny_generator), "mixes_classes", False)
    z, ids = tiny_generator.sample_latents(1, 3, range(1)), torch.tensor([3])
    strokes, _, _ = painted(tiny_generator, extractor, z, ids)
    with pytest.raises(InputError, match="takes no latents at single sites; use features instead of site_latents"):
        repainted(tiny_generator, extractor, strokes, ids, z, way=SITE_LATENTS)
