"""Label maps that somebody painted for generated images, and the folder that they are kept in."""

from cawa_core.annotations.base import Annotations, Colour, require_colours
from cawa_core.annotations.folder import (
    LABELS,
    LATENTS,
    colours_content,
    latents_content,
    parsed_colours,
    read_annotations,
    read_latents,
    write_annotations,
)
from cawa_core.annotations.painted import Painted, code_of

__all__ = [
    "LABELS",
    "LATENTS",
    "Annotations",
    "Colour",
    "Painted",
    "code_of",
    "colours_content",
    "latents_content",
    "parsed_colours",
    "read_annotations",
    "read_latents",
    "require_colours",
    "write_annotations",
]
