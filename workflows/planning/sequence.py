"""The sequence of shards: overviews first, then whole classes, spread evenly over all classes.

Shards have turns. Analyses that are cheap beside the rest, such as awareness in closed form, have the first turns, so
that their results cover all classes early. The rest goes class by class: a turn has one class per worker, so that an
interrupted audit holds complete classes. Within a turn the longest shards come first. The last turn has several classes
per worker, so that at the end of a run short shards fill the gaps while the last long ones are computed.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Sequence

from workflows.options.run import RunOptions
from workflows.planning.shards import Shard

OVERVIEW_SHARE = 0.05
"""Share of the whole work that the analyses with the first turns may take together."""
LAST_CLASSES = 5
"""Classes per worker in the last turn, if there are several workers."""


def in_sequence(shards: Sequence[Shard], workers: int) -> list[Shard]:
    """Return shards with their turns, in the order in which they should start.

    Args:
        shards: shards that do not depend on each other.
        workers: number of shards that are computed at the same time, as far as is known.
    """
    overviews = _overviews(shards)
    ranks = _spread(sorted({shard.class_ids[0] for shard in shards if shard.analysis not in overviews}))
    last = math.ceil(len(ranks) / workers) - (LAST_CLASSES if workers > 1 else 1)

    def turn(shard: Shard) -> int:
        if shard.analysis in overviews:
            return overviews.index(shard.analysis)
        return len(overviews) + max(0, min(ranks[shard.class_ids[0]] // workers, last))

    with_turns = [dataclasses.replace(shard, turn=turn(shard)) for shard in shards]
    return sorted(with_turns, key=lambda shard: (shard.turn, -shard.cost, shard.name))


def expected_workers(options: RunOptions) -> int:
    """Return the number of workers as far as it is known before they start: a cluster may grow later."""
    if options.executor == "inline":
        return 1
    if options.workers:
        return options.workers
    if options.device.startswith("cuda"):
        import torch

        return max(1, torch.cuda.device_count())
    return os.cpu_count() or 1


def _overviews(shards: Sequence[Shard]) -> list[str]:
    """Return the analyses whose costs together are a small share of all, the cheapest first."""
    costs: Counter[str] = Counter()
    for shard in shards:
        costs[shard.analysis] += shard.cost  # type: ignore[assignment]  # costs are no whole numbers
    remaining = OVERVIEW_SHARE * sum(costs.values())
    overviews = []
    for analysis in sorted(costs, key=lambda name: (costs[name], name)):
        remaining -= costs[analysis]
        if remaining < 0:
            break
        overviews.append(analysis)
    return overviews


def _spread(class_ids: Sequence[int]) -> dict[int, int]:
    """Return the rank of each class such that the first ranks, however many, lie evenly over the list.

    Neighbours in a list of classes are often alike (ImageNet lists all dogs in a row). Results of the first classes in
    this order say more about all classes. The order is van der Corput's sequence: positions sorted by their bits in
    reverse.
    """
    bits = len(class_ids).bit_length()
    places = sorted(range(len(class_ids)), key=lambda place: f"{place:0{bits}b}"[::-1])
    return {class_ids[place]: rank for rank, place in enumerate(places)}
