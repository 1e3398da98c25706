"""Classes that a class is mixed with."""

from __future__ import annotations

from cawa_core.numerics.seeds import random_generator
from workflows.analyses.hybrids import HybridOptions
from workflows.lab import Lab


def partners(lab: Lab, options: HybridOptions, class_id: int) -> list[int]:
    """Draw the classes that a class is mixed with, at random among all :func:`candidates`.

    The draw is over the generator's classes, so that it does not depend on which other classes are in the audit.
    """
    available = [other for other in candidates(lab, options.neighbours) if other != class_id]
    count = pairs_of_a_class(lab, options)
    places = random_generator(lab.spec.seed, class_id, 0, "hybrid").choice(len(available), count, replace=False)
    return sorted(int(available[place]) for place in places)


def candidates(lab: Lab, neighbours: int) -> list[int]:
    """Return the classes that others may be mixed with: all, or those with enough real images to measure realism."""
    if lab.real_image_set is None:
        return list(range(lab.generator.n_classes))
    real_image_set = lab.real_image_set
    minimum = neighbours + 1

    def compute() -> list[int]:
        return [
            class_id
            for class_id in range(lab.generator.n_classes)
            if real_image_set.has_class(class_id) and real_image_set.count_of(class_id) >= minimum
        ]

    return lab.memo.once(("classes with real images", real_image_set.name, minimum), compute)


def pairs_of_a_class(lab: Lab, options: HybridOptions) -> int:
    """Return how many other classes each class is mixed with."""
    can_mix = lab.generator.mixes_classes and len(lab.generator.sites) > 1
    return min(options.hybrid_partners, len(candidates(lab, options.neighbours)) - 1) if can_mix else 0
