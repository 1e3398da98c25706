"""Self-attention over the pixels of a feature map, as the BigGAN family has it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def attended(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Each pixel's mean of values, weighted by the softmax of query · key over pixels, unscaled.

    Args:
        queries: ``[n, d, H, W]``.
        keys: ``[n, d, H, W]``; pooled 2 x 2 by their maximum before use.
        values: ``[n, v, H, W]``; the same.

    Returns:
        ``[n, v, H, W]``, in the memory format of the queries.
    """
    height, width = queries.shape[2:]
    parts = (queries, functional.max_pool2d(keys, 2), functional.max_pool2d(values, 2))
    query, key, value = (part.permute(0, 2, 3, 1).flatten(1, 2)[:, None] for part in parts)  # [n, 1 head, pixels, d]
    mixed: Tensor = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    result: Tensor = mixed[:, 0].unflatten(1, (height, width)).permute(0, 3, 1, 2)
    return result
