"""Images that ``cawa dissect`` compares units with concepts in, and what labels their pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.annotations import Annotations, read_annotations
from cawa_core.dissection.counts import IMAGES_PERMUTED
from cawa_core.dissection.dissect import (
    Labels,
    SiteThresholds,
    UnitOverlaps,
    choose_thresholds,
    quantile_thresholds,
    unit_overlaps,
)
from cawa_core.dissection.removal import Unit, images_without
from cawa_core.errors import InputError, bounded, suggestion
from cawa_core.generators.base import class_ids_of
from cawa_core.numerics.seeds import SHARED_CLASS
from cawa_core.segmenters.base import concept_masks
from workflows.analyses.dissection.command import DissectCommandOptions
from workflows.analyses.dissection.work import FEWEST_LATENTS, spread_over_classes
from workflows.commands.sheets import Advance
from workflows.lab import Lab
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class Sample:
    """Images of a lab's generator, labelled by a segmenter or by the user.

    Attributes:
        lab: lab whose classes are those of the images.
        labels: the segmenter, or annotations of these images.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]``.
    """

    lab: Lab
    labels: Labels
    z: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def concept(self, name: str) -> int:
        """Return the index of a concept.

        Raises:
            InputError: nothing is labelled so, or it is on none of the annotated images.
        """
        concepts = self.labels.concepts
        if name not in concepts:
            raise InputError(
                f"concept must be one of {', '.join(concepts)}; got {bounded(name)}{suggestion(name, concepts)}"
            )
        index = concepts.index(name)
        if isinstance(self.labels, Annotations) and not self.labels.areas()[:, index].any():
            raise InputError(f"concept {name!r} is in none of the {len(self)} label maps; paint it, or name another")
        return index

    @torch.inference_mode()
    def images(self, places: NDArray[np.integer], units: Sequence[Unit] = ()) -> Tensor:
        """Generate the images at some places, without some units: ``[n, C, S, S]`` on the CPU."""
        lab, rows = self.lab, torch.from_numpy(places).to(self.z.device)
        with lab.arithmetic():
            batches = images_without(lab.generator, self.z[rows], self.class_ids[rows], units, lab.batch_size)
            return torch.cat([batch.cpu() for batch in batches])

    def overlaps(
        self, sites: Sequence[int], threshold_images: int, advance: Advance
    ) -> tuple[list[SiteThresholds], list[UnitOverlaps]]:
        """Choose the thresholds of units on other images, and count overlaps in these.

        Annotations are too few to choose thresholds on some of them: theirs are those that 0.5% of the pixels exceed.
        """
        generator = self.lab.generator
        other = generator.sample_latents(self.lab.spec.seed, SHARED_CLASS, range(threshold_images))
        spread = spread_over_classes(self.lab, threshold_images)
        batch = min(self.lab.batch_size, IMAGES_PERMUTED)
        if isinstance(self.labels, Annotations):
            n_concepts = len(self.labels.concepts)
            thresholds = quantile_thresholds(
                generator, n_concepts, other, spread, sites, batch_size=batch, progress=advance
            )
        else:
            thresholds = choose_thresholds(
                generator, self.labels, other, spread, sites, batch_size=batch, progress=advance
            )
        counts = unit_overlaps(
            generator, self.labels, self.z, self.class_ids, thresholds, batch_size=batch, progress=advance
        )
        return thresholds, counts

    def work(self, threshold_images: int) -> int:
        """Return the number of images that :meth:`overlaps` reports: thresholds by labels need a second pass."""
        return len(self) + threshold_images * (1 if isinstance(self.labels, Annotations) else 2)

    @torch.inference_mode()
    def masks(self, images: Tensor, places: NDArray[np.int64], concept: int) -> NDArray[np.bool_]:
        """Return where a concept is in some images ``[n, C, S, S]``, which are those at ``places``: ``[n, S, S]``."""
        if isinstance(self.labels, Annotations):
            masks = self.labels.masks(places)
        else:
            masks = concept_masks(self.labels, images.to(self.lab.generator.device))
        return np.asarray(masks[:, concept].cpu().numpy())


def opened_sample(dissect: DissectCommandOptions, spec: AuditSpec, options: RunOptions) -> Sample:
    """Load the models, and draw the images or read those of the user.

    Raises:
        InputError: bad input; see :func:`~cawa_core.annotations.read_annotations`.
    """
    options = options.with_absolute_paths()
    if not dissect.masks:
        lab = Lab.from_spec(spec, options, ("segmenter",))
        return Sample(lab, lab.segmenter, *_latents(lab, dissect.images))
    lab = Lab.from_spec(spec, options, ())
    annotations = read_annotations(dissect.masks, lab.generator)
    if len(annotations.z) < FEWEST_LATENTS:
        raise InputError(
            f"masks must have at least {FEWEST_LATENTS} annotated images, since overlap by chance is that with label "
            f"maps of other images; {dissect.masks} has {len(annotations.z)}"
        )
    classes = tuple(annotations.class_ids.unique().tolist())
    lab = dataclasses.replace(lab, spec=dataclasses.replace(lab.spec, classes=classes))
    return Sample(lab, annotations, annotations.z, annotations.class_ids)


def _latents(lab: Lab, count: int) -> tuple[Tensor, Tensor]:
    """Return latents of the classes in turn, those of a class together, and their classes."""
    each = [len(range(place, count, len(lab.class_ids))) for place in range(len(lab.class_ids))]
    latents = [lab.latents(class_id, number) for class_id, number in zip(lab.class_ids, each, strict=True)]
    return torch.cat(latents), torch.cat(
        [class_ids_of(class_id, rows) for class_id, rows in zip(lab.class_ids, latents, strict=True)]
    )
