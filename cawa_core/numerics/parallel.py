"""Parallel numerical work on all cores of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return ``[work(item) for item in items]``, computed in one thread per core.

    NumPy and PyTorch release Python's lock in their loops. Each item gets one core: threads that work on separate
    pieces, each in its own cache, need not wait for each other, unlike threads that share an operation. The number of
    threads is PyTorch's (``OMP_NUM_THREADS``). A single item is computed in this thread and may use all cores.
    """
    threads = torch.get_num_threads()
    items = list(items)
    if threads == 1 or len(items) == 1:
        return [work(item) for item in items]
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)
