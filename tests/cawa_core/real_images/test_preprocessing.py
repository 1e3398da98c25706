import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from cawa_core.real_images.preprocessing import UnreadableImageError, decode, to_square
from tests.cawa_core.real_images.conftest import picture


def by_torchvision(image: Image.Image, side: int, mode: str = "RGB") -> torch.Tensor:
    """The transforms that BigGAN-PyTorch names, on Pillow images."""
    transform = transforms.Compose(
        [
            transforms.CenterCrop(min(image.size)),
            transforms.Resize(side, antialias=True),
            transforms.ToTensor(),
            transforms.Normalize(0.5, 0.5),
        ]
    )
    return transform(image.convert(mode))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# (value / 255 - 0.5) / 0.5 and value / 127.5 - 1 round differently in float32, by 1e-7 at most
@pytest.mark.parametrize("size", [(61, 40), (40, 61), (41, 60), (45, 40), (32, 32), (16, 16), (9, 7), (1, 5)])
@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
def test_it_equals_torchvision(size, channels, mode):
    square = to_square(picture(1, size), 16, channels)
    assert square.shape == (channels, 16, 16)
    assert square.dtype == torch.float32
    torch.testing.assert_close(square, by_torchvision(picture(1, size), 16, mode), rtol=0, atol=2e-7)


def test_the_range_is_closed():
    black_and_white = Image.new("RGB", (8, 4), "black")
    black_and_white.paste("white", (4, 0, 8, 4))
    assert to_square(black_and_white, 4).unique().tolist() == [-1, 1]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_8_bit_mode_is_converted_as_pillow_does(mode, channels):
    image = picture(2).convert(mode)
    expected = by_torchvision(image, 8, "L" if channels == 1 else "RGB")
    torch.testing.assert_close(to_square(image, 8, channels), expected, rtol=0, atol=2e-7)


def test_alpha_is_dropped_not_blended():
    image = picture(3).convert("RGBA")
    image.putalpha(0)
    assert torch.equal(to_square(image, 8), to_square(picture(3), 8))


def test_orientation_in_the_metadata_is_ignored():
    turned = Image.Exif()
    turned[0x0112] = 6
    plain, tagged = encoded(picture(4), "JPEG"), encoded(picture(4), "JPEG", exif=turned)
    assert decode(tagged).getexif()[0x0112] == 6
    assert torch.equal(to_square(decode(plain), 8), to_square(decode(tagged), 8))


def test_more_than_8_bits_are_refused_rather_than_clipped():
    deep = Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16))
    for image in (deep, decode(encoded(deep, "PNG")), deep.convert("I"), deep.convert("F")):
        with pytest.raises(UnreadableImageError, match="8 bits per channel"):
            to_square(image, 4)


def test_colours_that_do_not_convert_are_unreadable():
    with pytest.raises(UnreadableImageError, match="convertible to L"):
        to_square(Image.new("LAB", (4, 4)), 4, channels=1)


def test_generators_are_grey_or_coloured():
    with pytest.raises(ValueError, match="channels must be 1 or 3; got 4"):
        to_square(picture(), 8, channels=4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6, 0.95])
def test_content_that_was_cut_short_is_no_image(kind, kept):
    content = encoded(picture(5, (64, 64)), kind)
    with pytest.raises(UnreadableImageError):
        decode(content[: int(kept * len(content))])


def test_pillows_limit_of_pixels_holds(monkeypatch):
    content = encoded(picture(), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="exceeds limit"):
        decode(content)


def test_formats_that_need_other_programs_are_not_opened():
    with pytest.raises(UnreadableImageError):
        decode(encoded(picture(), "EPS"))
