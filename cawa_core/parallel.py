"""Independent pieces of numerical work on all cores of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_in_threads(work: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """``[work(item) for item in items]``, one thread a core; NumPy and PyTorch let go of Python's lock in their loops.

    One core an item instead of all cores for each: threads that each keep to a piece in their own cache wait for
    nobody, those that share an operation do. As many threads as PyTorch was told to use (``OMP_NUM_THREADS``); a single
    item gets them all, to start others would take longer.
    """
    threads, items = torch.get_num_threads(), list(items)
    if threads == 1 or len(items) == 1:
        return [work(item) for item in items]
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)
