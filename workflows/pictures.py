"""Pictures of latents with the probability of their class, however many: a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.masking.engine import log_scores
from workflows.workbench import Workbench


@torch.inference_mode()
def scored_pictures(
    bench: Workbench, class_id: int, z: Tensor, draw: Callable[[Tensor], Tensor]
) -> tuple[Tensor, NDArray[np.float64]]:
    """Pictures on the CPU ``[n, C, H, W]`` in [-1, 1], and the evaluator's probability of their class ``[n]``.

    Args:
        bench: its batch size is how many latents are drawn at once.
        class_id: of the score.
        z: latents ``[n, z_dim]``.
        draw: latents => pictures.
    """
    images, scores = [], []
    for rows in z.split(bench.batch_size):
        drawn = draw(rows)
        images.append(drawn.cpu())
        scores.append(log_scores(bench.evaluator, drawn, class_id).exp().cpu())
    return torch.cat(images), torch.cat(scores).numpy()
