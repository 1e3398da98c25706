"""Which channels make good edits of a class: they change its pictures, in one place, and leave it that class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.applications.suggestions import FACTOR, Suggestion, edit_scores, edit_suggestions
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale, run
from cawa_core.rendering.grids import to_png
from cawa_core.tables import Rows, rows_of
from workflows.shards import Shard
from workflows.stages.awareness import class_awareness
from workflows.stages.base import Stage
from workflows.workbench import Workbench

KEPT = 10
"""Edits of a class that are kept, the best ones."""
PICTURED = 3
"""How many of them with pictures."""
FACTORS = (0.0, 1.0, 2.0, 3.0)
"""What a channel is multiplied by in these."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """How the best edits are looked for.

    Attributes:
        tried, scored: latents that choose, and others that score what was chosen.
        factor: what channels are multiplied by.
    """

    tried: int
    scored: int
    factor: float = FACTOR


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Rows of the ``edits`` table."""
    choice = Choice(bench.spec.edit_tried_latents, bench.spec.edit_latents)
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        tried = candidates(bench, class_id, bench.spec.edit_candidates)
        for rank, one in enumerate(suggestions(bench, class_id, tried, choice)):
            images = _pictures(bench, class_id, one, choice) if rank < PICTURED else None
            rows.append(
                {
                    **dataclasses.asdict(one),
                    "class_id": class_id,
                    "rank": rank,
                    "factor": choice.factor,
                    "n_candidates": len(tried),
                    "n_tried": choice.tried,
                    "pngs": None if images is None else [to_png(image) for image in images],
                    "protocol": bench.score_protocol,
                }
            )
    return {"edits": rows_of("edits", rows)}


def suggestions(bench: Workbench, class_id: int, tried: Sequence[tuple[int, int]], choice: Choice) -> list[Suggestion]:
    """The best edits of a class in the order of the latents that chose them, with the scores of the others."""
    models, size = (bench.generator, bench.evaluator), bench.batch_size
    tries, others = bench.latents(class_id, choice.tried + choice.scored).split([choice.tried, choice.scored])
    best = edit_suggestions(*models, tries, class_id, tried, choice.factor, size)[:KEPT]
    return edit_scores(*models, others, class_id, [(one.site, one.channel) for one in best], choice.factor, size)


def candidates(bench: Workbench, class_id: int, count: int, only: int | None = None) -> list[tuple[int, int]]:
    """(site, channel) of about so many channels most aware of the class or of the latent code, as many at each site.

    Args:
        bench: the models.
        class_id: of the pictures.
        count: of all sites together.
        only: this site alone.
    """
    sites = bench.generator.sites if only is None else [bench.generator.sites[only]]
    found, each = [], max(1, count // len(sites))
    for site in sites:
        awareness = class_awareness(bench, (class_id,), site.index)
        latent, robust = awareness.latent_awareness[0], awareness.latent_awareness_robust[0]
        ranks = [
            np.argsort(np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable"))
            for values in (awareness.category_awareness[0], np.where(np.isnan(latent), robust, latent))
        ]
        order = np.argsort(np.minimum(*ranks), kind="stable")
        reaching = order[~np.isin(order, site.inert_channels)]
        found += [(site.index, int(channel)) for channel in reaching[:each]]
    return found


@torch.inference_mode()
def _pictures(bench: Workbench, class_id: int, one: Suggestion, choice: Choice) -> Tensor:
    """The first latent of a class that did not choose, under an edit of rising strength."""
    z = bench.latents(class_id, choice.tried + 1)[-1:]
    edits = [Intervention(one.site, (one.channel,), Scale(factor)) for factor in FACTORS]
    return torch.cat([run(bench.generator, z, class_ids_of(class_id, z), [edit]) for edit in edits])


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """A part of a pass for each channel tried and for each of the best, shorter for later sites."""
    spec = bench.spec
    return 0.6 * (spec.edit_candidates * spec.edit_tried_latents + rows(bench) * spec.edit_latents)


def rows(bench: Workbench) -> int:
    """The best of those tried."""
    tried = sum(
        min(max(1, bench.spec.edit_candidates // len(bench.generator.sites)), site.channels - len(site.inert_channels))
        for site in bench.generator.sites
    )
    return min(KEPT, tried)


EDITS = Stage(
    "edits",
    by_site=False,
    classes_per_shard=5,
    passes=passes,
    process=process,
    rows=rows,
    pictures=lambda bench: min(PICTURED, rows(bench)) * len(FACTORS),
)
