"""How much of a device's memory a chain takes, by its files, before anything is copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime.device.kernels import GROUP
from runtime.device.search import MARGIN, WORKSPACE, chunking

__all__ = ["DoesNotFit", "array_bytes", "missing", "search_bytes"]

# What CuPy, cuBLAS and the compiled kernels take of their own accord.
OVERHEAD = 256 << 20
GIB = 2.0**30


class DoesNotFit(MemoryError):
    """A chain needs more of a device's memory than is free; the sentence has both numbers."""


def missing(needed: int, free: int, name: str) -> str:
    """A sentence where a device's memory is too small; empty where it is not.

    Args:
        needed: bytes of arrays.
        free: bytes of the device.
        name: of the device.
    """
    if needed + OVERHEAD <= free:
        return ""
    return f"{(needed + OVERHEAD) / GIB:.2f} GiB of {name} are needed and {free / GIB:.2f} GiB are free"


def search_bytes(num_items: int, dim: int, precision: str, count: int, num_users: int) -> int:
    """Embeddings, bitmap and what a batch takes.

    Args:
        num_items: N.
        dim: D.
        precision: "float32" or "float16".
        count: items wanted.
        num_users: of the largest batch.
    """
    chunks, size = chunking(num_items)
    of_items = chunks * size * dim * np.dtype(precision).itemsize + chunks * size // 8
    # Scores of a chunk or of the best groups, and the best score of each group.
    widest = max(size, chunks * size // GROUP, (count + 2 * MARGIN) * GROUP)
    return of_items + 2 * min(4 * num_users * widest, max(WORKSPACE, 4 * widest))


def array_bytes(*paths: Path) -> int:
    """Of .npy files, and of those in folders."""
    files = [file for path in paths for file in (path.rglob("*.npy") if path.is_dir() else [path])]
    return sum(np.load(file, mmap_mode="r", allow_pickle=False).nbytes for file in files)
