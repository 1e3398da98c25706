"""Attributes of drawn images, by hand."""

import pytest
import torch

from cawa_core.latents.attributes import (
    attribute_names,
    foreground,
    object_attributes,
    pixel_attribute_names,
    pixel_attributes,
)


def image_with(*boxes, channels=1, side=20):
    """Return a black image with white boxes (top, left, height, width)."""
    image = -torch.ones(1, channels, side, side)
    for top, left, height, width in boxes:
        image[:, :, top : top + height, left : left + width] = 1
    return image


def attributes(images):
    names = attribute_names(images.shape[1])
    values = torch.cat([pixel_attributes(images), object_attributes(images)], dim=1)
    return [dict(zip(names, row.tolist(), strict=True)) for row in values]


def test_an_object_has_the_area_aspect_and_parts_that_were_drawn():
    (square, tall, pair) = attributes(
        torch.cat([image_with((5, 5, 6, 6)), image_with((2, 8, 12, 3)), image_with((2, 2, 4, 4), (12, 12, 4, 4))])
    )
    assert square["object area"] == pytest.approx(36 / 400)
    assert square["object aspect"] == pytest.approx(1)
    assert tall["object aspect"] == pytest.approx(4)
    assert [each["object parts"] for each in (square, tall, pair)] == [1, 1, 2]


def test_a_dark_object_on_a_bright_ground_is_an_object_too():
    bright = -image_with((5, 5, 6, 6))
    assert foreground(bright)[0, 5:11, 5:11].all()
    assert foreground(bright).sum() == 36


def test_parts_of_several_images_and_specks_do_not_mix():
    images = torch.cat([image_with((0, 0, 5, 5)), image_with((3, 3, 1, 1), (10, 10, 5, 5)), image_with()])
    assert object_attributes(images)[:, 2].tolist() == [1, 1, 0]


def test_an_image_without_an_object_has_aspect_one():
    assert object_attributes(image_with())[0].tolist() == [0, 1, 0]


def test_brightness_contrast_symmetry_warmth_and_saturation():
    grey = attributes(image_with(side=8))[0]
    assert (grey["brightness"], grey["symmetry"]) == (0, 0)
    left = image_with((0, 0, 8, 4), side=8)
    assert attributes(left)[0]["brightness"] == pytest.approx(0.5)
    assert attributes(left)[0]["contrast"] == pytest.approx(0.5, abs=1e-3)
    assert attributes(left)[0]["symmetry"] == pytest.approx(-1, abs=1e-3)
    red = -torch.ones(1, 3, 8, 8)
    red[:, 0] = 1
    values = attributes(red)[0]
    assert (values["warmth"], values["saturation"]) == (1, 1)
    assert values["brightness"] == pytest.approx(0.299)


@pytest.mark.parametrize("channels", [1, 3])
def test_attributes_of_pixels_have_gradients(channels):
    images = torch.rand(2, channels, 8, 8, requires_grad=True)
    values = pixel_attributes(images)
    assert values.shape[1] == len(pixel_attribute_names(channels))
    for column in values.T:
        (gradient,) = torch.autograd.grad(column.sum(), images, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.any()


def test_autocast_rounds_no_attribute():
    """A product of matrices would be in bfloat16, with steps of 0.002."""
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = torch.cat([pixel_attributes(images), object_attributes(images)], dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = torch.cat([pixel_attributes(images), object_attributes(images)], dim=1)
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0)
    weights = torch.tensor([0.299, 0.587, 0.114])
    by_hand = torch.einsum("nchw,c->n", (images + 1) / 2, weights) / 256
    torch.testing.assert_close(expected[:, 0], by_hand)
