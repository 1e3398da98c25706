"""Linear maps of the features for commands: trained on labels of a segmenter, or read from a file."""

from __future__ import annotations

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.paths import user_path
from cawa_core.semantics.closed_form import CLOSED_FORMS
from cawa_core.semantics.extractors import LinearExtractor
from cawa_core.semantics.files import ExtractorFile, read_extractor
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import SemanticOptions
from workflows.analyses.semantics.training import Trainer
from workflows.lab import Lab


def read_map(path: str, generator: Generator) -> ExtractorFile:
    """Read the file of a trained map.

    Raises:
        InputError: it cannot be read, or is not a map of this generator's features; one line.
    """
    try:
        content = user_path(path).read_bytes()
    except OSError as error:
        raise InputError(f"extractor {path} cannot be read: {error.strerror}") from None
    return read_extractor(path, content, generator)


def trained_map(lab: Lab, training_images: int, method: str = "lda", sites: tuple[int, ...] = ()) -> ExtractorFile:
    """Train a map on images of all classes, labelled by the lab's segmenter.

    Args:
        lab: lab with a segmenter.
        training_images: number of images.
        method: ``lda``, ``ridge`` or ``lse``.
        sites: sites whose features are read; by default all, or the last of each resolution.
    """
    options = SemanticOptions(
        semantics_sites=sites, semantics_training_latents=training_images, semantics_transfer_latents=0
    )
    trainer = Trainer(lab, options)
    if method in CLOSED_FORMS:
        return extractor_file(trainer, method, trainer.closed_form(method)[ALL_SITES])
    by_gradient = trainer.by_gradient(method)[method]
    assert isinstance(by_gradient, LinearExtractor)
    return extractor_file(trainer, method, by_gradient)


def extractor_file(trainer: Trainer, method: str, extractor: LinearExtractor) -> ExtractorFile:
    """Return the file of a map of all sites."""
    generator, segmenter = trainer.lab.generator, trainer.lab.segmenter
    names = (generator.name, generator.digest, segmenter.name, segmenter.digest)
    return ExtractorFile(extractor, trainer.categories, method, *names)
