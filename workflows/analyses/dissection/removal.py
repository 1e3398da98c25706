"""Images without the best units and without random ones, and what is left of the concept in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cawa_core.annotations import Annotations
from cawa_core.dissection.removal import Areas, Unit, areas_without, share_left
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from workflows.analyses.dissection.command import DissectCommandOptions
from workflows.analyses.dissection.sample import Sample
from workflows.commands.sheets import Advance, computed

WITHOUT = "none"
"""Name of the empty set of removed units."""


@dataclasses.dataclass(frozen=True)
class Removal:
    """Removal of some numbers of units.

    Attributes:
        areas: pixels of each concept in each image ``[n, concepts]`` by the name of the set; those of annotations are
            known before units are removed, not after.
        drawn: the sets whose images are drawn, by name.
    """

    areas: Mapping[str, Areas]
    drawn: Mapping[str, Sequence[Unit]]

    def share_left(self, name: str, concept: int) -> tuple[float, float] | None:
        """Return the share of a concept's pixels that is left without a set, and its error; None if not measured."""
        if name not in self.areas:
            return None
        return share_left(self.areas[WITHOUT][:, concept], self.areas[name][:, concept])


def remove_units(dissect: DissectCommandOptions, sample: Sample, order: Sequence[Unit]) -> Removal:
    """Remove the first units and random ones in all images.

    Args:
        dissect: numbers of units, and of random sets.
        sample: the images.
        order: all units, the best first.
    """
    lab = sample.lab
    numbers = [number for number in sorted(dissect.removed) if number <= len(order)]
    sets: dict[str, Sequence[Unit]] = {WITHOUT: ()}
    for number in numbers:
        sets[best_units(number)] = order[:number]
        for draw in range(dissect.random_sets):
            random = random_generator(lab.spec.seed, SHARED_CLASS, draw, f"random units {number}")
            sets[random_units(number, draw)] = [order[place] for place in random.permutation(len(order))[:number]]
    drawn = [*map(best_units, numbers), *(random_units(number, 0) for number in numbers[-1:])]
    labels = sample.labels
    if isinstance(labels, Annotations):
        areas = {WITHOUT: labels.areas()}
    else:

        def compute(name: str, advance: Advance) -> Areas:
            left = areas_without(lab.generator, labels, sample.z, sample.class_ids, sets[name], lab.batch_size)
            advance(len(sample))
            return left

        names = list(sets)
        areas = dict(zip(names, computed(lab, "removing units of", names, compute, len(sample)), strict=True))
    return Removal(areas, {name: sets[name] for name in drawn})


def curve_of(dissect: DissectCommandOptions, removal: Removal, concept: int) -> list[dict[str, Any]] | None:
    """Describe what is left of a concept by the number of units, with random sets; None if it was not measured."""
    curve = []
    for number in sorted(dissect.removed):
        best = removal.share_left(best_units(number), concept)
        if best is None:
            continue
        shares = (removal.share_left(random_units(number, draw), concept) for draw in range(dissect.random_sets))
        draws = [share[0] for share in shares if share is not None]
        curve.append(
            {
                "units": number,
                "left": best[0],
                "left_stderr": best[1],
                "left_without_random": float(np.mean(draws)),
                "left_without_random_sets": draws,
            }
        )
    return curve if len(removal.areas) > 1 else None


def best_units(number: int) -> str:
    """Name the set of the units of highest overlap."""
    return "the best unit" if number == 1 else f"the best {number} units"


def random_units(number: int, draw: int) -> str:
    """Name a set of random units; the first draw has no number."""
    words = "a random unit" if number == 1 else f"{number} random units"
    return f"{words} ({draw + 1})" if draw else words
