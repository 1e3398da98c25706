"""Self-attention over the pixels of a feature map, as in the BigGAN family."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return each pixel's mean of the values, weighted by the softmax of query · key over pixels, without scaling.

    Args:
        queries: ``[n, d, H, W]``.
        keys: ``[n, d, H, W]``; max-pooled 2 x 2 before use.
        values: ``[n, v, H, W]``; max-pooled in the same way.

    Returns:
        ``[n, v, H, W]``, in the memory format of the queries.
    """
    height, width = queries.shape[2:]
    parts = (queries, functional.max_pool2d(keys, 2), functional.max_pool2d(values, 2))
    query, key, value = (part.permute(0, 2, 3, 1).flatten(1, 2)[:, None] for part in parts)  # [n, 1 head, pixels, d]
    mixed: Tensor = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    result: Tensor = mixed[:, 0].unflatten(1, (height, width)).permute(0, 3, 1, 2)
    return result
