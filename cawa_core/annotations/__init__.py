"""Label maps that somebody painted for generated images, and the folder that they are kept in."""

from cawa_core.annotations.base import Annotations, require_colours
from cawa_core.annotations.folder import read_annotations, write_annotations

__all__ = ["Annotations", "read_annotations", "require_colours", "write_annotations"]
