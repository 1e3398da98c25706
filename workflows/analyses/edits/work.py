"""Channels that make good edits of a class: they change its pictures locally and preserve the class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cawa_core.edits.suggestions import FACTOR, Suggestion, edit_scores, edit_suggestions
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale, run
from cawa_core.rendering.pixels import to_png
from cawa_core.tables import Manifest, rows_of
from workflows.analyses.edits import EDITS_TABLE, EditOptions
from workflows.interface import Cost, Output, Unit, Work
from workflows.lab import Lab
from workflows.planning.shards import Shard

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


class EditsWork(Work[EditOptions]):
    """Computation of the table ``edits``."""

    def run(self, lab: Lab, options: EditOptions, shard: Shard, earlier: Manifest | None) -> Output:  # noqa: ARG002
        """Find and score the best edits of some classes."""
        choice = Choice(options.edit_tried_latents, options.edit_scored_latents)
        rows: list[dict[str, Any]] = []
        for class_id in shard.class_ids:
            tried = candidates(lab, class_id, options.edit_candidates)
            for rank, suggestion in enumerate(suggestions(lab, class_id, tried, choice)):
                images = _pictures(lab, class_id, suggestion, choice) if rank < PICTURED else None
                rows.append(
                    {
                        **dataclasses.asdict(suggestion),
                        "class_id": class_id,
                        "rank": rank,
                        "factor": choice.factor,
                        "n_candidates": len(tried),
                        "n_tried": choice.tried,
                        "pngs": None if images is None else [to_png(image) for image in images],
                        "protocol": lab.score_protocol,
                    }
                )
        return Output({EDITS_TABLE.name: rows_of(EDITS_TABLE.name, rows)})

    def cost(self, lab: Lab, options: EditOptions, class_id: int, unit: Unit) -> Cost:  # noqa: ARG002
        """Estimate the work: part of a pass per channel tried and per best edit, less for later sites."""
        per_site = max(1, options.edit_candidates // len(lab.generator.sites))
        tried = sum(min(per_site, site.channels - len(site.inert_channels)) for site in lab.generator.sites)
        rows = min(KEPT, tried)
        passes = 0.6 * (tried * options.edit_tried_latents + rows * options.edit_scored_latents)
        return Cost(passes, rows, min(PICTURED, rows) * len(FACTORS))


def suggestions(lab: Lab, class_id: int, tried: Sequence[tuple[int, int]], choice: Choice) -> list[Suggestion]:
    """Return the best edits of a class, ranked on the latents that chose them and scored on held-out latents."""
    models = (lab.generator, lab.evaluator)
    size = lab.batch_size
    choosing, held_out = lab.latents(class_id, choice.tried + choice.scored).split([choice.tried, choice.scored])
    best = edit_suggestions(*models, choosing, class_id, tried, choice.factor, size)[:KEPT]
    channels = [(suggestion.site, suggestion.channel) for suggestion in best]
    return edit_scores(*models, held_out, class_id, channels, choice.factor, size)


def candidates(lab: Lab, class_id: int, count: int, only: int | None = None) -> list[tuple[int, int]]:
    """Return the (site, channel) pairs most aware of the class or of the latent code, equally many per site.

    Args:
        lab: lab with the generator.
        class_id: class of the pictures.
        count: approximate number of pairs over all sites.
        only: restrict the search to this site.
    """
    sites = lab.generator.sites if only is None else [lab.generator.sites[only]]
    pairs = []
    per_site = max(1, count // len(sites))
    for site in sites:
        awareness = lab.class_awareness((class_id,), site.index)
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
def _pictures(lab: Lab, class_id: int, suggestion: Suggestion, choice: Choice) -> Tensor:
    """Render the first held-out latent of a class under the edit at each of :data:`FACTORS`."""
    z = lab.latents(class_id, choice.tried + 1)[-1:]
    edits = [Intervention(suggestion.site, (suggestion.channel,), Scale(factor)) for factor in FACTORS]
    return torch.cat([run(lab.generator, z, class_ids_of(class_id, z), [edit]) for edit in edits])
