"""Channels that make good edits of a class: they change its pictures locally and preserve the class."""

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
"""Best edits recorded per class."""
PICTURED = 3
"""Best edits per class that are recorded with pictures."""
FACTORS = (0.0, 1.0, 2.0, 3.0)
"""Factors that a channel is multiplied by in these pictures."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Settings of the search for the best edits.

    Attributes:
        tried, scored: number of latents that choose the edits, and of held-out latents that score them.
        factor: factor that channels are multiplied by.
    """

    tried: int
    scored: int
    factor: float = FACTOR


def process(bench: Workbench, shard: Shard) -> dict[str, Rows]:
    """Compute the rows of the ``edits`` table."""
    choice = Choice(bench.spec.edit_tried_latents, bench.spec.edit_latents)
    rows: list[dict[str, Any]] = []
    for class_id in shard.class_ids:
        tried = candidates(bench, class_id, bench.spec.edit_candidates)
        for rank, suggestion in enumerate(suggestions(bench, class_id, tried, choice)):
            images = _pictures(bench, class_id, suggestion, choice) if rank < PICTURED else None
            rows.append(
                {
                    **dataclasses.asdict(suggestion),
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
    """Return the best edits of a class, ranked on the latents that chose them and scored on held-out latents."""
    models = (bench.generator, bench.evaluator)
    size = bench.batch_size
    choosing, held_out = bench.latents(class_id, choice.tried + choice.scored).split([choice.tried, choice.scored])
    best = edit_suggestions(*models, choosing, class_id, tried, choice.factor, size)[:KEPT]
    channels = [(suggestion.site, suggestion.channel) for suggestion in best]
    return edit_scores(*models, held_out, class_id, channels, choice.factor, size)


def candidates(bench: Workbench, class_id: int, count: int, only: int | None = None) -> list[tuple[int, int]]:
    """Return the (site, channel) pairs most aware of the class or of the latent code, equally many per site.

    Args:
        bench: workbench with the generator.
        class_id: class of the pictures.
        count: approximate number of pairs over all sites.
        only: restrict the search to this site.
    """
    sites = bench.generator.sites if only is None else [bench.generator.sites[only]]
    pairs = []
    per_site = max(1, count // len(sites))
    for site in sites:
        awareness = class_awareness(bench, (class_id,), site.index)
        latent, robust = awareness.latent_awareness[0], awareness.latent_awareness_robust[0]
        ranks = [
            np.argsort(np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable"))
            for values in (awareness.category_awareness[0], np.where(np.isnan(latent), robust, latent))
        ]
        order = np.argsort(np.minimum(*ranks), kind="stable")
        reaching = order[~np.isin(order, site.inert_channels)]
        pairs += [(site.index, int(channel)) for channel in reaching[:per_site]]
    return pairs


@torch.inference_mode()
def _pictures(bench: Workbench, class_id: int, suggestion: Suggestion, choice: Choice) -> Tensor:
    """Render the first held-out latent of a class under the edit at each of :data:`FACTORS`."""
    z = bench.latents(class_id, choice.tried + 1)[-1:]
    edits = [Intervention(suggestion.site, (suggestion.channel,), Scale(factor)) for factor in FACTORS]
    return torch.cat([run(bench.generator, z, class_ids_of(class_id, z), [edit]) for edit in edits])


def passes(bench: Workbench, site: int) -> float:  # noqa: ARG001
    """Estimate the work: part of a pass per channel tried and per best edit, less for later sites."""
    spec = bench.spec
    return 0.6 * (spec.edit_candidates * spec.edit_tried_latents + rows(bench) * spec.edit_latents)


def rows(bench: Workbench) -> int:
    """Count the rows of a class: its best edits among the channels tried."""
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
