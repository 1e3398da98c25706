"""Real images in one folder per class, the layout of ImageNet."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cawa_core.digests import digest_of_data
from cawa_core.errors import InputError
from cawa_core.real_images.base import RealImages
from cawa_core.real_images.class_mapping import map_folders
from cawa_core.real_images.preprocessing import MODES, PROTOCOL, UnreadableImageError, decode, to_square

SUFFIXES = (
    *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".pjp", ".pjpeg", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""Suffixes of image files in formats that are read, compared without regard to case."""
FOREIGN_SUFFIXES = (".avif", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jp2", ".jxl", ".psd", ".svg", ".tga")
"""Suffixes of image files in formats that are not read, unless the content is of another; they count as unreadable.

Files with neither suffix are ignored.
"""


class ImageFolder(RealImages):
    """Images directly inside class folders, preprocessed as for BigGAN (:data:`preprocessing.PROTOCOL`).

    The files of a class are listed and measured once, on first use, in bytewise order of their names, and decoded on
    every pass.
    A file that does not hold a complete image is left out and named by :meth:`unreadable_of`. A file that the machine
    cannot read raises ``OSError``, because a failing disk must not change results.

    Attributes:
        folder: the folder of class folders.
        folders: folder of each class, by index.
        image_size: side of the square images in pixels.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(
        self,
        folder: Path,
        image_size: int,
        channels: int,
        class_names: Sequence[str],
        wordnet_ids: Sequence[str] | None = None,
        class_folders: Path | None = None,
        name: str = "image-folder",
        class_ids: Sequence[int] | None = None,
    ) -> None:
        """Find the class folders, all of them if ``class_ids`` is None; no image is listed or read yet.

        Raises:
            InputError: see :func:`class_mapping.map_folders`.
            ValueError: ``channels`` is not 1 or 3, or ``image_size`` is not positive.
        """
        if channels not in MODES or image_size < 1:
            raise ValueError(f"channels must be 1 or 3 and image_size positive; got {channels} and {image_size}")
        self.name = name
        self.folder = folder
        self.image_size = image_size
        self.channels = channels
        self.class_names = tuple(class_names)
        folders = map_folders(folder, class_names, wordnet_ids, class_folders)
        self.folders = {
            class_id: path for class_id, path in folders.items() if class_ids is None or class_id in class_ids
        }
        self._paths: dict[int, tuple[Path, ...]] = {}
        self._sizes: dict[int, list[tuple[str, int]]] = {}
        self._unreadable: dict[int, tuple[str, ...]] = {}
        self._ignored: dict[int, Counter[str]] = {}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the names and sizes of all mapped classes' files, the mapping and the preprocessing.

        The files' contents are not hashed, as ImageNet has 140 GB: an image replaced by one of the same size goes
        unnoticed. The location of the folder is not hashed either.
        """
        classes = {class_id: folder.name for class_id, folder in self.folders.items()}
        files = {class_id: digest_of_data(self._sizes_of(class_id)) for class_id in self.folders}
        return digest_of_data({"classes": classes, "files": files, "preprocessing": self._preprocessing})

    def class_contents(self, class_id: int) -> str:
        """Return the SHA-256 of the class's folder name, the names and sizes of its files, and the preprocessing.

        The files' contents are not hashed, as ImageNet has 140 GB: an image replaced by one of the same size goes
        unnoticed. The location of the folder is not hashed either.
        """
        name = self._folder_of(class_id).name
        files = self._sizes_of(class_id)
        return digest_of_data({"folder": name, "files": files, "preprocessing": self._preprocessing})

    def has_class(self, class_id: int) -> bool:
        """Return whether the class has a folder with image files."""
        return class_id in self.folders and bool(self.paths_of(class_id))

    def count_of(self, class_id: int) -> int:
        """Return the number of image files of a class, readable or not."""
        return len(self.paths_of(class_id))

    def paths_of(self, class_id: int) -> tuple[Path, ...]:
        """Return the image files of a class, including unreadable ones, in the order of its images.

        Raises:
            InputError: the class has no folder.
        """
        if class_id not in self._paths:
            self._paths[class_id], self._ignored[class_id] = _image_files(self._folder_of(class_id))
        return self._paths[class_id]

    def class_digest(self, class_id: int) -> str:
        """Return the SHA-256 of name, size and modification time of a class's files, and the preprocessing.

        It is a cache key for one machine only, as copying the files changes it.
        """
        stats = [(path.name, path.stat()) for path in self.paths_of(class_id)]
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        folder = str(self._folder_of(class_id).resolve())
        return digest_of_data({"folder": folder, "files": files, "preprocessing": self._preprocessing})

    def require(self, class_ids: Iterable[int]) -> None:
        """Check, before any work starts, that every class has a folder and at least one image that decodes.

        Raises:
            InputError: a class lacks them; the error names the first such class.
        """
        class_ids = list(class_ids)
        for class_id in class_ids:
            self._require_files(class_id)
        for class_id in class_ids:
            next(self._squares_of(class_id))

    def images_of(self, class_id: int) -> Tensor:
        """Return all readable images of a class, float32 ``[n, channels, image_size, image_size]`` in [-1, 1].

        1,300 images of 256 pixels take 1 GB; :meth:`batches_of` yields the same rows in batches.

        Raises:
            InputError: the class has no folder, no images, or none that can be read.
        """
        self._require_files(class_id)
        images = torch.empty(len(self.paths_of(class_id)), self.channels, self.image_size, self.image_size)
        n_readable = 0
        for square in self._squares_of(class_id):
            images[n_readable] = square
            n_readable += 1
        return images[:n_readable]

    def batches_of(self, class_id: int, size: int) -> Iterator[Tensor]:
        """Yield the rows of :meth:`images_of` in batches of ``size``, decoded on demand; the last may be smaller.

        Raises:
            InputError: see :meth:`images_of`.
            ValueError: ``size`` is not positive.
        """
        if size < 1:
            raise ValueError(f"size must be positive; got {size}")
        self._require_files(class_id)
        return _stack(self._squares_of(class_id), size)

    def unreadable_of(self, class_id: int) -> tuple[str, ...]:
        """Return the names of a class's files that hold no complete image, in order.

        This decodes the whole class unless an earlier pass did.

        Raises:
            InputError: see :meth:`images_of`.
        """
        if class_id not in self._unreadable:
            self._require_files(class_id)
            for _ in self._squares_of(class_id):
                pass
        return self._unreadable[class_id]

    def has_unreadable(self, class_id: int, tries: int) -> bool:
        """Return whether a class has empty files, or files among ``tries`` evenly spread ones that do not decode."""
        if class_id in self._unreadable:
            return bool(self._unreadable[class_id])
        if not all(size for _, size in self._sizes_of(class_id)):
            return True
        paths = self.paths_of(class_id)
        step = -(-len(paths) // tries)
        return not all(map(_is_readable, paths[::step]))

    def ignored_endings(self, class_ids: Iterable[int]) -> Counter[str]:
        """Count the files in the folders of some classes that are not taken for pictures, by suffix."""
        total: Counter[str] = Counter()
        for class_id in class_ids:
            self.paths_of(class_id)
            total += self._ignored[class_id]
        return total

    @property
    def _preprocessing(self) -> list[str | int]:
        return [PROTOCOL, self.image_size, self.channels]

    def _folder_of(self, class_id: int) -> Path:
        if class_id not in self.folders:
            raise InputError(
                f"class {self._label(class_id)} has no folder of real images in {self.folder}, "
                f"which has {len(self.folders)} of {len(self.class_names)} classes; add its folder or leave it out"
            )
        return self.folders[class_id]

    def _label(self, class_id: int) -> str:
        """Return a class's index and, if it has one, its name."""
        has_name = 0 <= class_id < len(self.class_names)
        return f"{class_id} ({self.class_names[class_id]})" if has_name else str(class_id)

    def _sizes_of(self, class_id: int) -> list[tuple[str, int]]:
        if class_id not in self._sizes:
            self._sizes[class_id] = [(path.name, path.stat().st_size) for path in self.paths_of(class_id)]
        return self._sizes[class_id]

    def _require_files(self, class_id: int) -> None:
        if not self.paths_of(class_id):
            raise InputError(
                f"folder {self._folder_of(class_id)} of class {self._label(class_id)} must hold image files "
                f"({' '.join(SUFFIXES)}) directly, not in subfolders; it holds none: add some or leave it out"
            )

    def _squares_of(self, class_id: int) -> Iterator[Tensor]:
        """Yield the readable images of a class one by one, and record the unreadable files at the end."""
        unreadable: list[str] = []
        paths = self.paths_of(class_id)
        for path in paths:
            try:
                yield to_square(decode(path.read_bytes()), self.image_size, self.channels)
            except UnreadableImageError:
                unreadable.append(path.name)
        if len(unreadable) == len(paths):
            raise InputError(
                f"folder {self._folder_of(class_id)} of class {self._label(class_id)} must hold an image "
                f"that decodes; none of {len(paths)} does, the first being {paths[0].name}: restore it or leave it out"
            )
        self._unreadable[class_id] = tuple(unreadable)


def _is_readable(path: Path) -> bool:
    try:
        decode(path.read_bytes())
    except UnreadableImageError:
        return False
    return True


def _stack(squares: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    while batch := list(itertools.islice(squares, size)):
        yield torch.stack(batch)


def _image_files(folder: Path) -> tuple[tuple[Path, ...], Counter[str]]:
    """List the image files directly inside a folder, except hidden ones, sorted bytewise whatever the locale.

    Also returns how many other files there are with each suffix.
    """
    with os.scandir(folder) as entries:
        files = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    images = [name for name in files if name.lower().endswith((*SUFFIXES, *FOREIGN_SUFFIXES))]
    ignored = Counter(Path(name).suffix.lower() or "none" for name in set(files) - set(images))
    return tuple(folder / name for name in sorted(images, key=os.fsencode)), ignored
