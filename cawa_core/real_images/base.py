"""What a set of real images offers."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from torch import Tensor

from cawa_core.class_tables import ClassTable
from cawa_core.errors import InputError


@dataclasses.dataclass(frozen=True)
class RealImagesRequest:
    """One set of real images, in the form of a generator's images.

    Attributes:
        name: the registry's name, or a folder of class folders.
        classes: of the generator.
        image_size, image_channels: of the generator's images.
        class_ids: classes that may be read; other classes do not enter.
        class_folders: file that says which folder holds which class; empty where names say it.
    """

    name: str
    classes: ClassTable
    image_size: int
    image_channels: int
    class_ids: tuple[int, ...]
    class_folders: str = ""

    def require_form(self, classes: ClassTable, image_size: int, image_channels: int) -> None:
        """For sets of a fixed form.

        Raises:
            InputError: the generator's images or classes are others.
        """
        wanted, given = (classes, image_size, image_channels), (self.classes, self.image_size, self.image_channels)
        if wanted != given:
            raise InputError(
                f"real_images {self.name} are {image_size} pixels, {image_channels} channels, {len(classes)} classes; "
                f"the generator has {given[1]}, {given[2]}, {len(self.classes)}, or other classes: give --real-images"
            )


class RealImages(ABC):
    """Real images sorted by class, in the same form as generated ones.

    Attributes:
        name: the registry's name.
        digest: SHA-256 of all that enters; part of every result's identity.
    """

    name: str

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of all that enters; part of every result's identity."""

    @abstractmethod
    def images_of(self, class_id: int) -> Tensor:
        """All images of a class: float32 NCHW in [-1, 1], in a fixed order."""

    def batches_of(self, class_id: int, size: int) -> Iterator[Tensor]:
        """The same images, at most ``size`` at a time."""
        yield from self.images_of(class_id).split(size)

    def class_digest(self, class_id: int) -> str:  # noqa: ARG002
        """Changes whenever an image of the class does; for caches on this machine."""
        return self.digest

    def class_contents(self, class_id: int) -> str:  # noqa: ARG002
        """SHA-256 of what a class's images are, wherever they lie; part of every result's identity."""
        return self.digest

    def has_class(self, class_id: int) -> bool:
        """Whether there are images of a class."""
        return self.count_of(class_id) > 0

    def count_of(self, class_id: int) -> int:
        """How many images of a class there are, unreadable files included."""
        return len(self.images_of(class_id))

    def unreadable_of(self, class_id: int) -> tuple[str, ...]:  # noqa: ARG002
        """Names of the class's files that could not be read and are left out."""
        return ()

    def require(self, class_ids: Iterable[int]) -> None:
        """Check that every class has an image.

        Raises:
            InputError: one has none.
        """
        for class_id in class_ids:
            if not len(self.images_of(class_id)):
                raise InputError(f"real_images {self.name} must have images of every class; it has none of {class_id}")
