"""Computation of the table ``semantics``: maps of the features, scored on the images of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from cawa_core.generators.base import class_ids_of
from cawa_core.semantics.agreement import LabelCounts
from cawa_core.semantics.closed_form import CLOSED_FORMS
from cawa_core.semantics.extractors import Extractor, LinearExtractor
from cawa_core.tables import Manifest, rows_of
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import (
    LEFT_OUT,
    METHODS,
    SEMANTICS_TABLE,
    SEMANTICS_TRANSFER_TABLE,
    TEST,
    SemanticOptions,
)
from workflows.analyses.semantics.closed_forms import LabelledFeatures
from workflows.analyses.semantics.maps import extractor_file
from workflows.analyses.semantics.training import (
    FEW_SHOT_STEPS,
    IMAGES_PER_STEP,
    Trainer,
)
from workflows.interface import Cost, Output, Pace, Stopwatch, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

LINEAR = (*CLOSED_FORMS, "lse")
"""Linear maps, which are also trained on few images."""
TRANSFERRED = "lda"
"""Method whose units also have the maps of single classes."""
MOST_LEFT_OUT = 4
"""Images of a class that are left out of the sample one by one."""
TIMED_IMAGES = 16
STEP_PASSES = {"lse": 2, "nse1": 3, "nse2": 6}
"""Passes of an image, with its labels, that take as long as a step of training takes for it."""

Row = dict[str, Any]
Variant = tuple[int, int, int]
"""Site of a map, or all of them; number of annotated images, or 0 for the whole sample; and the repeat."""
WHOLE: Variant = (ALL_SITES, 0, 0)


class SemanticsWork(Work[SemanticOptions]):
    """Computation of the tables ``semantics`` and ``semantics_transfer``."""

    def check(self, lab: Lab, options: SemanticOptions) -> None:
        """Check that the generator has the sites."""
        if options.semantics_sites:
            lab.generator.require_sites(options.semantics_sites)

    def units(self, lab: Lab, options: SemanticOptions, class_id: int) -> Sequence[Unit]:  # noqa: ARG002
        """Return the methods."""
        return [(method,) for method in (METHODS if options.semantics_steps else CLOSED_FORMS)]

    def blocks(self, lab: Lab, options: SemanticOptions, units: Sequence[Unit]) -> list[tuple[Unit, ...]]:  # noqa: ARG002
        """Keep the closed forms together, which share their sums, and the others, which share their images."""
        closed_forms = tuple(unit for unit in units if unit[0] in CLOSED_FORMS)
        by_gradient = tuple(unit for unit in units if unit[0] not in CLOSED_FORMS)
        return [block for block in (closed_forms, by_gradient) if block]

    def run(self, lab: Lab, options: SemanticOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Train the maps of some methods, and score them on the images of some classes."""
        trainer = Trainer(lab, options)
        rows: list[Row] = []
        transfer: list[Row] = []
        files: dict[str, bytes] = {}
        methods = [str(unit) for (unit,) in shard.units]
        for method in methods:
            maps = variants(trainer, method, methods)
            whole = maps[WHOLE]
            if isinstance(whole, LinearExtractor):
                files[f"{method}.safetensors"] = extractor_file(trainer, method, whole).content()
            for class_id in shard.class_ids:
                rows += _scores(trainer, method, class_id, maps)
                if method == TRANSFERRED:
                    transfer += _transferred(trainer, class_id)
        tables = (SEMANTICS_TABLE, rows), (SEMANTICS_TRANSFER_TABLE, transfer)
        return Output({table.name: rows_of(table.name, part) for table, part in tables}, files)

    def cost(self, lab: Lab, options: SemanticOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the images that are labelled, and the share of a class in training the maps."""
        method = str(unit[0])
        n_categories = len(lab.segmenter.concepts) + 1
        few = len(options.semantics_annotated) * options.semantics_repeats if method in LINEAR else 0
        maps = 1 + few + (len(lab.generator.sites) if method in CLOSED_FORMS else 0)
        once = 0.0
        if method in CLOSED_FORMS:
            once = 2 * options.semantics_training_latents
        else:
            once = options.semantics_steps * IMAGES_PER_STEP * STEP_PASSES[method]
        if method == "lse":
            once += few * FEW_SHOT_STEPS
        if method == TRANSFERRED:
            once += 2 * len(Trainer(lab, options).transferred) * options.semantics_transfer_latents
        return Cost(once / len(lab.class_ids) + 2 * options.semantics_latents, maps * n_categories)

    def pace(self, lab: Lab, options: SemanticOptions, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Time images whose pixels are labelled and whose features are added to the sums."""
        trainer = Trainer(lab, options)
        z = lab.latents(lab.class_ids[0], TIMED_IMAGES)
        ids = class_ids_of(lab.class_ids[0], z)
        return {"labelled image": seconds(lambda: trainer.labelled(z, ids), True) / TIMED_IMAGES}

    def seconds(self, lab: Lab, options: SemanticOptions, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard."""
        passes = (
            self.cost(lab, options, class_id, unit).passes for class_id in shard.class_ids for unit in shard.units
        )
        return sum(passes) * pace["labelled image"]


def variants(trainer: Trainer, method: str, methods: Sequence[str]) -> dict[Variant, Extractor]:
    """Train the maps of a method: on the whole sample, of single sites, and on few annotated images.

    Args:
        trainer: what trains them.
        method: one of the methods.
        methods: all methods of the shard, of which those by gradient are trained on the same images.
    """
    maps: dict[Variant, Extractor] = {}
    if method in CLOSED_FORMS:
        maps |= {(site, 0, 0): extractor for site, extractor in trainer.closed_form(method).items()}
    else:
        maps[WHOLE] = trainer.by_gradient(*(each for each in methods if each not in CLOSED_FORMS))[method]
    if method in LINEAR:
        for count in trainer.options.semantics_annotated:
            for repeat in range(trainer.options.semantics_repeats):
                maps[ALL_SITES, count, repeat] = trainer.few_shot(method, count, repeat)
    return maps


def _scores(trainer: Trainer, method: str, class_id: int, maps: Mapping[Variant, Extractor]) -> Iterator[Row]:
    """Yield the rows of a class: each map on new images, and left out images of the sample by the map of the others."""
    blocks = list(_test_images(trainer, class_id))
    for variant, extractor in maps.items():
        counts = reduce(add, (trainer.counts(extractor, block) for block in blocks))
        yield from _rows(trainer, _key(class_id, method, variant, TEST), counts)
    if method in CLOSED_FORMS:
        parts = [
            trainer.counts(trainer.without(method, left_out), left_out)
            for left_out in trainer.images_of(class_id, MOST_LEFT_OUT)
        ]
        if parts:
            yield from _rows(trainer, _key(class_id, method, WHOLE, LEFT_OUT), reduce(add, parts))


def _transferred(trainer: Trainer, class_id: int) -> Iterator[Row]:
    """Yield the rows of a class by maps that are trained on images of single classes."""
    blocks = list(_test_images(trainer, class_id))
    for trained_on in trainer.transferred:
        extractor = trainer.of_class(trained_on)
        counts = reduce(add, (trainer.counts(extractor, block) for block in blocks))
        yield from _rows(trainer, {"class_id": class_id, "trained_on": trained_on}, counts)


def _test_images(trainer: Trainer, class_id: int) -> Iterator[LabelledFeatures]:
    z = trainer.lab.latents(class_id, trainer.options.semantics_latents)
    for rows in z.split(trainer.block):
        yield trainer.labelled(rows, class_ids_of(class_id, rows))


def _key(class_id: int, method: str, variant: Variant, sample: str) -> Row:
    site, n_annotated, repeat = variant
    return {
        "class_id": class_id,
        "method": method,
        "site": site,
        "n_annotated": n_annotated,
        "repeat": repeat,
        "sample": sample,
    }


def _rows(trainer: Trainer, key: Row, counts: LabelCounts) -> Iterator[Row]:
    """Yield a row for each category that is there or predicted."""
    for place, label in enumerate(trainer.categories):
        if counts.n_images[place]:
            yield {
                **key,
                "label": label,
                "predicted": int(counts.predicted[place]),
                "true": int(counts.true[place]),
                "both": int(counts.both[place]),
                "iou_sum": float(counts.iou_sum[place]),
                "n_images": int(counts.n_images[place]),
            }
