"""From a spec to the shards that are still to do."""

from __future__ import annotations

from cawa_core.tables import Manifest
from workflows.shards import Shard, blocks
from workflows.stages import STAGES
from workflows.stages.base import Stage
from workflows.workbench import Workbench


def plan(bench: Workbench, manifest: Manifest, classes_per_shard: int | None) -> list[Shard]:
    """Shards of every (stage, class, site) that the manifest does not cover, the longest first.

    What is covered counts whatever the size of the shards that it was computed in.
    """
    shards = [
        shard
        for name in bench.spec.stages
        for shard in _stage_shards(STAGES[name], bench, manifest.covered(name), classes_per_shard)
    ]
    return sorted(shards, key=lambda shard: (-shard.cost, shard.name))


def _stage_shards(
    stage: Stage, bench: Workbench, covered: set[tuple[int, int]], classes_per_shard: int | None
) -> list[Shard]:
    sites = [site.index for site in bench.generator.sites] if stage.by_site else [-1]
    shards = []
    for site in sites:
        remaining = tuple(class_id for class_id in bench.spec.classes if (class_id, site) not in covered)
        for block in blocks(remaining, classes_per_shard or stage.classes_per_shard):  # type: ignore[arg-type]
            cost = len(block) * stage.passes(bench, site)
            shards.append(Shard(stage.name, block, (site,) if stage.by_site else (), cost))
    return shards
