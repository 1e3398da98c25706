"""Division of the remaining work of an audit into shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from cawa_core.tables import Manifest
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.interface import Analysis, Unit
from workflows.planning.shards import Shard, blocks
from workflows.running.job import Job

LARGEST_BLOCK = 100_000.0
"""Largest cost of a shard of several classes, in generator passes."""


def plan(
    job: Job, manifest: Manifest, classes_per_shard: int | None, stages: Collection[str] | None = None
) -> list[Shard]:
    """Return shards for every unit that the manifest does not cover, in the order of the analyses.

    Results computed with the same options count as covered, whatever the shard size they were computed in.

    Args:
        job: the audit.
        manifest: what its folder has.
        classes_per_shard: classes per shard; by default what suits each analysis.
        stages: analyses to plan; by default all of the audit.
    """
    return [
        shard
        for analysis in job.analyses
        if stages is None or analysis.name in stages
        for shard in _shards(job, analysis, _covered(job, manifest, analysis.name), classes_per_shard)
    ]


def _covered(job: Job, manifest: Manifest, analysis: str) -> set[tuple[int | str, ...]]:
    return manifest.covered(analysis, job.identity.analysis_hash(analysis)[:HASH_DIGITS])


def _shards(
    job: Job, analysis: Analysis, covered: set[tuple[int | str, ...]], classes_per_shard: int | None
) -> Iterator[Shard]:
    """Yield shards of classes that lack the same units of a group, so that a shard is a block of classes and units."""
    work = job.work(analysis.name)
    lacking: dict[tuple[Unit, ...], list[int]] = defaultdict(list)
    for class_id in job.lab.class_ids:
        for group in work.blocks(job.lab, job.spec, job.units(analysis.name, class_id)):
            units = tuple(unit for unit in group if (class_id, *unit) not in covered)
            if units:
                lacking[units].append(class_id)
    for units, class_ids in lacking.items():
        costs = {
            class_id: sum(work.cost(job.lab, job.spec, class_id, unit).passes for unit in units)
            for class_id in class_ids
        }
        size = classes_per_shard or _block_size(analysis, max(costs.values()))
        for block in blocks(class_ids, size):
            cost = sum(costs[class_id] for class_id in block)
            yield Shard(analysis.name, block, units, analysis.by_site, cost)


def _block_size(analysis: Analysis, cost: float) -> int:
    """Return how many classes of some cost make a shard: as suits the analysis, but fewer if they are expensive."""
    return max(1, min(analysis.classes_per_shard, int(LARGEST_BLOCK / max(cost, 1.0))))
