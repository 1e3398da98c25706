"""The world ``scenes`` as a set of real images by name."""

import numpy as np
import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.generators.class_tables import ClassTable
from cawa_core.real_images import open_real_images, scenes
from cawa_core.real_images.base import RealImagesRequest
from cawa_core.real_images.scenes import ScenesImages
from cawa_core.rendering.pixels import as_bytes
from cawa_core.worlds.scenes.renderer import render
from cawa_core.worlds.scenes.vocabulary import CLASS_NAMES


def request(**changed) -> RealImagesRequest:
    form = {"image_size": 32, "image_channels": 3, "classes": ClassTable(CLASS_NAMES)}
    return RealImagesRequest(name="scenes", class_ids=tuple(range(30)), **{**form, **changed})


def test_it_is_opened_by_name_and_rendered_when_asked_for():
    reals = open_real_images(request())
    reals.require(range(30))
    assert reals.count_of(3) == 1000
    images = reals.images_of(3)
    assert images.shape == (1000, 3, 32, 32)
    assert images.dtype == torch.float32
    expected = render([3, 3], [5, 999]).images
    assert np.array_equal(as_bytes(images[[5, 999]]).permute(0, 2, 3, 1).numpy(), expected)


def test_batches_are_the_images_and_no_more_are_rendered_than_asked_for(monkeypatch):
    reals = ScenesImages(per_class=21)
    assert torch.cat(list(reals.batches_of(4, 8))).equal(reals.images_of(4))
    rendered = []

    def counting(class_ids, indices, **how):
        rendered.extend(class_ids)
        return render(class_ids, indices, **how)

    monkeypatch.setattr(scenes, "render", counting)
    assert len(next(reals.batches_of(4, 8))) == 8
    assert rendered == [4] * 8


def test_it_follows_the_side_of_the_generator():
    reals = open_real_images(request(image_size=64))
    assert reals.side == 64
    assert reals.digest != open_real_images(request()).digest


def test_everything_that_decides_the_pictures_is_in_the_digest():
    digests = {
        ScenesImages().digest,
        ScenesImages(per_class=10).digest,
        ScenesImages(seed=5).digest,
        ScenesImages(request(image_size=64)).digest,
    }
    assert len(digests) == 4
    assert ScenesImages().digest == ScenesImages(request()).digest


def test_its_label_maps_belong_to_its_images():
    reals = ScenesImages(per_class=3)
    scenes = reals.scenes_of(12)
    assert scenes.labels.shape == (3, 32, 32)
    assert torch.equal(as_bytes(reals.images_of(12)).permute(0, 2, 3, 1), torch.from_numpy(scenes.images))


@pytest.mark.parametrize(
    "changed", [{"image_size": 28}, {"image_channels": 1}, {"classes": ClassTable.numbered(30)}], ids=str
)
def test_a_generator_of_another_form_is_refused(changed):
    with pytest.raises(InputError, match="real_images scenes has 32 pixels, 3 channels, 30 classes; the generator has"):
        open_real_images(request(**changed))
