"""Blocks of items, on all cores: compiled code and NumPy let other threads run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["in_threads", "spans_of"]

BLOCK_ITEMS = 1_000

Given = TypeVar("Given")
Found = TypeVar("Found")


def spans_of(num_items: int, step: int = 0) -> Iterator[tuple[int, int]]:
    """(first, stop) of every block of `step` items; 0: of as many as keep a block's counts small."""
    step = step or BLOCK_ITEMS
    for first in range(0, num_items, step):
        yield first, min(first + step, num_items)


def in_threads(work: Callable[[Given], Found], parts: Iterable[Given]) -> list[Found]:
    """What `work` gives of every part, in their order; on as many threads as there are cores."""
    # Threads of BLAS inside ours, on systems as small as these, made the whole four times slower on two cores.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(work, parts))
