"""FAISS indexes over item embeddings, inner product, positions = item rows. Imports faiss."""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

__all__ = ["build_exact", "build_ivf", "exact_top_k", "num_lists", "recall_against"]

TRAINING_ROWS_PER_LIST = 64
LISTS_PER_SQRT_ITEM = 4
SEED = 1


def num_lists(num_items: int) -> int:
    """Inverted lists for a catalogue: 4 sqrt(N), but few enough that each list has items to be trained on."""
    return max(1, min(int(LISTS_PER_SQRT_ITEM * math.sqrt(num_items)), num_items // 39))


def build_exact(embeddings: NDArray[np.float32]) -> Any:
    """An index that compares every query with every item.

    Args:
        embeddings: float32 [N, D] by item_row.
    """
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(np.ascontiguousarray(embeddings))
    return index


def build_ivf(embeddings: NDArray[np.float32], nlist: int, *, on_gpu: bool = False) -> Any:
    """An inverted-file index whose lists are clusters of the items.

    Args:
        embeddings: float32 [N, D] by item_row.
        nlist: clusters.
        on_gpu: cluster and fill the lists on the first GPU; the index that comes back lies in host memory either way.
    """
    index = faiss.index_factory(embeddings.shape[1], f"IVF{nlist},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = SEED
    if on_gpu:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    embeddings = np.ascontiguousarray(embeddings)
    index.train(_sample(embeddings, nlist * TRAINING_ROWS_PER_LIST))
    index.add(embeddings)
    return faiss.index_gpu_to_cpu(index) if on_gpu else index


def exact_top_k(
    embeddings: NDArray[np.float32], queries: NDArray[np.float32], k: int, *, on_gpu: bool = False
) -> NDArray[np.int64]:
    """Item rows of the k largest inner products: int64 [B, k], descending score."""
    index = build_exact(embeddings)
    if on_gpu:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    return np.asarray(index.search(np.ascontiguousarray(queries), min(k, len(embeddings)))[1])


def recall_against(exact: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """index_recall_at_k: the mean share of each query's exact top k that was found.

    Args:
        exact: int64 [B, k] item rows.
        found: int64 [B, k] item rows; -1 where the index gave fewer.
    """
    hits = sum(len(np.intersect1d(e, f)) for e, f in zip(exact, found, strict=True))
    return hits / exact.size if exact.size else 1.0


def _sample(embeddings: NDArray[np.float32], num_rows: int) -> NDArray[np.float32]:
    if len(embeddings) <= num_rows:
        return embeddings
    rows = np.random.default_rng(SEED).choice(len(embeddings), num_rows, replace=False)
    return embeddings[np.sort(rows)]
