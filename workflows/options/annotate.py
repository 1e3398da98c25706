"""Options of ``cawa annotate``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from pydantic import ConfigDict

from cawa_core.options import Count, option


@dataclasses.dataclass(frozen=True)
class AnnotateOptions:
    """Choice of the images to annotate and of the concepts, or the folder to check."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to annotate"

    concepts: tuple[str, ...] = option((), "Names of the concepts to paint, separated by commas.")
    images: Count = option(8, "Images to annotate, of the classes in turn.")
    classes: tuple[int | str, ...] = option(
        (), "Classes of the images by index, name or WordNet id, separated by commas; by default all."
    )
    check: str = option("", "Annotated folder to check, instead of writing one.")
    output: str = option("", "Folder to write; by default results/GENERATOR-annotations.")
