import os

import pytest
import torch
from PIL import Image

from cawa_core.errors import InputError
from cawa_core.real_images.folder import ImageFolder
from cawa_core.real_images.preprocessing import to_square
from tests.cawa_core.real_images.conftest import NAMES, WORDNET_IDS, folder_of, picture


def test_images_come_in_the_bytewise_order_of_their_names(pictures):
    real = folder_of(pictures)
    assert [path.name for path in real.paths_of(0)] == ["Z.png", "a.jpg", "b.JPEG"]
    images = real.images_of(0)
    assert images.shape == (3, 3, 8, 8)
    assert images.dtype == torch.float32
    for image, path in zip(images, real.paths_of(0), strict=True):
        with Image.open(path) as opened:
            assert torch.equal(image, to_square(opened, 8))
    assert {class_id: real.count_of(class_id) for class_id in real.folders} == {0: 3, 2: 2}


def test_any_case_of_the_ending_counts_and_other_files_do_not(pictures):
    folder = pictures / WORDNET_IDS[1]
    folder.mkdir()
    kinds = ("jpg", "JPEG", "Jpeg", "png", "PNG", "bmp", "webp", "WEBP", "tif", "TIFF", "ppm")
    for kind in kinds:
        picture().save(folder / f"of_{len(list(folder.iterdir()))}.{kind}")
    (folder / "notes.txt").write_text("not an image")
    (folder / "._a.jpg").write_bytes(b"left by a file manager")
    (folder / "folder.jpg").mkdir()
    real = folder_of(pictures)
    assert len(real.images_of(1)) == real.count_of(1) == len(kinds)
    assert real.unreadable_of(1) == ()


def test_more_endings_are_pictures_and_other_formats_are_unreadable(pictures):
    folder = pictures / WORDNET_IDS[1]
    folder.mkdir()
    for kind, format_ in (
        ("gif", "GIF"),
        ("JFIF", "JPEG"),
        ("jpe", "JPEG"),
        ("pnm", "PPM"),
        ("apng", "PNG"),
        ("dib", "BMP"),
    ):
        picture().save(folder / f"a.{kind}", format=format_)
    picture().save(folder / "jpeg.avif", format="JPEG")  # named wrongly
    (folder / "b.avif").write_bytes(b"\0\0\0\x1cftypavif")
    (folder / "c.heic").write_bytes(b"\0\0\0\x1cftypheic")
    for name in ("a.txt", "b.TXT", "list", ".hidden"):
        (folder / name).write_bytes(b"text")
    real = folder_of(pictures)
    assert len(real.images_of(1)) == 7
    assert real.unreadable_of(1) == ("b.avif", "c.heic")
    assert real.ignored_endings([0, 1]) == {".txt": 2, "none": 1}


def test_unreadable_files_are_found_by_trying_some(pictures):
    folder = pictures / WORDNET_IDS[0]
    assert not folder_of(pictures).has_unreadable(0, 1)
    (folder / "c.png").write_bytes(b"damaged")
    assert not folder_of(pictures).has_unreadable(0, 1)  # only Z.png, the first, is tried
    assert folder_of(pictures).has_unreadable(0, 4)
    (folder / "c.png").write_bytes(b"")
    assert folder_of(pictures).has_unreadable(0, 1)
    real = folder_of(pictures)
    real.unreadable_of(0)
    assert real.has_unreadable(0, 1)


def test_grey_generators_get_one_channel(pictures):
    assert folder_of(pictures, channels=1).images_of(0).shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match="got 2 and 8"):
        folder_of(pictures, channels=2)


def test_unreadable_files_are_named_and_left_out(pictures):
    folder = pictures / WORDNET_IDS[0]
    (folder / "text.JPEG").write_text("<html>404</html>")
    (folder / "empty.png").write_bytes(b"")
    whole = (folder / "b.JPEG").read_bytes()
    (folder / "cut.JPEG").write_bytes(whole[: len(whole) // 2])
    real = folder_of(pictures)
    assert real.unreadable_of(0) == ("cut.JPEG", "empty.png", "text.JPEG")
    assert real.images_of(0).shape == (3, 3, 8, 8)
    assert real.count_of(0) == 6
    assert real.unreadable_of(2) == ()


def test_a_file_that_the_machine_cannot_read_is_no_unreadable_image(pictures):
    real = folder_of(pictures)
    real.paths_of(0)[1].unlink()
    with pytest.raises(FileNotFoundError):
        real.images_of(0)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batches_are_the_same_images(pictures, size):
    (pictures / WORDNET_IDS[0] / "aa.png").write_bytes(b"")
    real = folder_of(pictures)
    batches = list(real.batches_of(0, size))
    assert max(map(len, batches)) <= size
    assert torch.equal(torch.cat(batches), real.images_of(0))


def test_batches_fail_at_once_not_on_first_use(pictures):
    with pytest.raises(ValueError, match="size must be positive; got 0"):
        folder_of(pictures).batches_of(0, 0)
    with pytest.raises(InputError, match="class 1"):
        folder_of(pictures).batches_of(1, 4)


def test_a_class_without_folder_is_named(pictures):
    real = folder_of(pictures)
    real.require([0, 2])
    for use in (real.images_of, real.paths_of, real.class_digest, lambda class_id: real.require([0, class_id])):
        with pytest.raises(InputError, match=r"class 1 \(goldfish\) has no folder .* has 2 of 3 classes"):
            use(1)
    with pytest.raises(InputError, match="class 3 has no folder"):
        real.images_of(3)


def test_a_class_without_images_is_named(pictures):
    (pictures / WORDNET_IDS[1] / "images").mkdir(parents=True)
    picture().save(pictures / WORDNET_IDS[1] / "images" / "a.png")
    real = folder_of(pictures)
    for use in (real.images_of, real.unreadable_of, lambda class_id: real.require([class_id])):
        with pytest.raises(InputError, match=r"n01443537 of class 1 \(goldfish\) must hold image files"):
            use(1)


def test_a_class_of_unreadable_files_is_named_with_the_first(pictures):
    for path in (pictures / WORDNET_IDS[2]).iterdir():
        path.write_bytes(b"damaged")
    real = folder_of(pictures)
    real.require([0])
    for use in (real.images_of, real.unreadable_of, lambda class_id: real.require([0, class_id])):
        with pytest.raises(InputError, match=r"n01484850 of class 2 .* none of 2 does, the first being x\.WebP"):
            use(2)


def test_require_is_content_with_one_readable_image(pictures):
    (pictures / WORDNET_IDS[0] / "A.png").write_bytes(b"damaged")
    folder_of(pictures).require([0])


def test_the_digest_follows_files_not_the_place(pictures, tmp_path):
    digests = [folder_of(pictures).digest]
    picture(7).save(pictures / WORDNET_IDS[0] / "new.png")
    digests.append(folder_of(pictures).digest)
    (pictures / WORDNET_IDS[0] / "new.png").rename(pictures / WORDNET_IDS[0] / "other.png")
    digests.append(folder_of(pictures).digest)
    picture(7, (40, 40)).save(pictures / WORDNET_IDS[0] / "other.png")
    digests.append(folder_of(pictures).digest)
    (pictures / WORDNET_IDS[0]).rename(pictures / WORDNET_IDS[1])
    digests.append(folder_of(pictures).digest)
    assert len(set(digests)) == len(digests)
    moved = pictures.rename(tmp_path / "moved")
    assert folder_of(moved).digest == digests[-1]


def test_the_digest_follows_mapping_and_form(pictures, tmp_path):
    (tmp_path / "m.json").write_text(f'{{"{WORDNET_IDS[0]}": 2, "{WORDNET_IDS[2]}": 0}}')
    swapped = ImageFolder(pictures, 8, 3, NAMES, WORDNET_IDS, tmp_path / "m.json")
    others = [folder_of(pictures), folder_of(pictures, side=16), folder_of(pictures, channels=1), swapped]
    assert len({real.digest for real in others}) == 4
    assert len({real.class_digest(0) for real in others}) == 4
    assert swapped.class_digest(2) == folder_of(pictures).class_digest(0)


def test_the_digest_of_a_class_follows_its_files_alone(pictures):
    before = [folder_of(pictures).class_digest(class_id) for class_id in (0, 2)]
    path = pictures / WORDNET_IDS[0] / "a.jpg"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1000))
    after = [folder_of(pictures).class_digest(class_id) for class_id in (0, 2)]
    assert before[0] != after[0]
    assert before[1] == after[1]
