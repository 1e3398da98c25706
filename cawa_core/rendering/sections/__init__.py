"""The sections of the report; each turns the tables and the summary of an audit into text, figures and tables."""

from cawa_core.rendering.sections.applications import edits, hybrids, segmentation
from cawa_core.rendering.sections.base import Section, Tables
from cawa_core.rendering.sections.masking import curves, predictors
from cawa_core.rendering.sections.pictures import masking_gallery, samples
from cawa_core.rendering.sections.quality import heavy_tails, quality
from cawa_core.rendering.sections.sharing import overlap, sharing

ALL_SECTIONS = (
    *(samples, masking_gallery, curves, predictors, overlap, sharing, quality),
    *(edits, hybrids, segmentation, heavy_tails),
)
"""All sections in the order of the page."""

__all__ = ["ALL_SECTIONS", "Section", "Tables"]
