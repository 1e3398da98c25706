"""Interface of a set of real images."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator

from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.generators.class_tables import ClassTable


@dataclasses.dataclass(frozen=True)
class RealImagesRequest:
    """Request for a set of real images in the same form as a generator's images.

    Attributes:
        name: name in the registry, or a folder of class folders.
        classes: classes of the generator.
        image_size, image_channels: size and channels of the generator's images.
        class_ids: classes that may be read; other classes are ignored.
        class_folders: file that maps folders to classes; empty to map them by their names.
    """

    name: str
    classes: ClassTable
    image_size: int
    image_channels: int
    class_ids: tuple[int, ...]
    class_folders: str = ""

    def require_form(self, classes: ClassTable, image_size: int, image_channels: int) -> None:
        """Check that the generator's images and classes match those of a set of fixed form.

        Raises:
            InputError: they differ.
        """
        if (self.classes, self.image_size, self.image_channels) != (classes, image_size, image_channels):
            raise InputError(
                f"real_images {self.name} has {image_size} pixels, {image_channels} channels, {len(classes)} classes; "
                f"the generator has {self.image_size}, {self.image_channels}, {len(self.classes)}, or other classes: "
                "give --real-images"
            )


class RealImages(ABC):
    """Real images sorted by class, in the same form as generated ones.

    Attributes:
        name: name in the registry.
        digest: SHA-256 of everything that determines the images; part of every result's identity.
    """

    name: str

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of everything that determines the images; part of every result's identity."""

    @abstractmethod
    def images_of(self, class_id: int) -> Tensor:
        """Return all images of a class, float32 NCHW in [-1, 1], in a fixed order."""

    def batches_of(self, class_id: int, size: int) -> Iterator[Tensor]:
        """Yield the images of a class, at most ``size`` at a time."""
        yield from self.images_of(class_id).split(size)

    def class_digest(self, class_id: int) -> str:  # noqa: ARG002
        """Return a digest that changes whenever an image of the class changes; for caches on this machine."""
        return self.digest

    def class_contents(self, class_id: int) -> str:  # noqa: ARG002
        """Return a SHA-256 that identifies a class's images, wherever they are; part of every result's identity."""
        return self.digest

    def has_class(self, class_id: int) -> bool:
        """Return whether there are images of a class."""
        return self.count_of(class_id) > 0

    def count_of(self, class_id: int) -> int:
        """Return the number of images of a class, including unreadable files."""
        return len(self.images_of(class_id))

    def unreadable_of(self, class_id: int) -> tuple[str, ...]:  # noqa: ARG002
        """Return the names of the class's files that cannot be read and are left out."""
        return ()

    def has_unreadable(self, class_id: int, tries: int) -> bool:  # noqa: ARG002
        """Return whether a class has an unreadable file, as far as trying some of its files shows.

        Args:
            class_id: the class.
            tries: how many files, evenly spread, are decoded; empty files count without that.
        """
        return False

    def ignored_endings(self, class_ids: Iterable[int]) -> Counter[str]:  # noqa: ARG002
        """Count the files among those of some classes that are not taken for pictures, by the ending of their names."""
        return Counter()

    def require(self, class_ids: Iterable[int]) -> None:
        """Check that every class has at least one image.

        Raises:
            InputError: a class has none.
        """
        for class_id in class_ids:
            if not self.has_class(class_id):
                raise InputError(
                    f"real_images {self.name} must have images of every class; it has none of class {class_id}"
                )
