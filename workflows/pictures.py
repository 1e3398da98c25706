"""Pictures of latents with the probability of their class, drawn in batches."""

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
    """Draw pictures on the CPU ``[n, C, H, W]`` in [-1, 1], with the evaluator's probability of their class ``[n]``.

    Args:
        bench: workbench with the evaluator and the batch size.
        class_id: class whose probability is the score.
        z: latents ``[n, z_dim]``.
        draw: function from latents to pictures.
    """
    images = []
    scores = []
    for rows in z.split(bench.batch_size):
        batch = draw(rows)
        images.append(batch.cpu())
        scores.append(log_scores(bench.evaluator, batch, class_id).exp().cpu())
    return torch.cat(images), torch.cat(scores).numpy()
