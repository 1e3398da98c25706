"""Division of the remaining work of an audit into shards."""

from __future__ import annotations

from collections import defaultdict

from cawa_core.tables import Manifest
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.identity import audit_identity
from workflows.shards import Shard, blocks
from workflows.stages import STAGES
from workflows.stages.base import Stage
from workflows.workbench import Workbench


def plan(bench: Workbench, manifest: Manifest, classes_per_shard: int | None) -> list[Shard]:
    """Return shards for every (stage, class, site) that the manifest does not cover, the longest first.

    Results computed with the same options count as covered, whatever the shard size they were computed in.
    """

    def covered(stage: str) -> set[tuple[int, int]]:
        return manifest.covered(stage, audit_identity(bench).analysis_hash(stage)[:HASH_DIGITS])

    shards = [
        shard
        for name in bench.spec.stages
        for shard in _stage_shards(STAGES[name], bench, covered(name), classes_per_shard)
    ]
    return sorted(shards, key=lambda shard: (-shard.cost, shard.name))


def _stage_shards(
    stage: Stage, bench: Workbench, covered: set[tuple[int, int]], classes_per_shard: int | None
) -> list[Shard]:
    shards = []
    for sites in _site_blocks(stage, bench):
        remaining: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for class_id in bench.class_ids:
            remaining[tuple(site for site in sites if (class_id, site) not in covered)].append(class_id)
        remaining.pop((), None)
        for missing, class_ids in remaining.items():
            for block in blocks(tuple(class_ids), classes_per_shard or stage.classes_per_shard):
                cost = len(block) * sum(stage.passes(bench, site) for site in missing)
                shards.append(Shard(stage.name, block, missing if stage.by_site else (), cost))
    return shards


def _site_blocks(stage: Stage, bench: Workbench) -> list[tuple[int, ...]]:
    """Return the groups of sites that go into one shard each; -1 if the stage does not go by site."""
    if not stage.by_site:
        return [(-1,)]
    site_ids = tuple(site.index for site in bench.generator.sites)
    return [site_ids] if stage.whole_classes(bench.spec) else [(site,) for site in site_ids]
