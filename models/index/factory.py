"""Builds the FAISS indexes over item embeddings: inner product, positions = item rows. Imports faiss."""

from __future__ import annotations

import math
import os
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.index.search import HNSW, IVF, IVF_PQ

__all__ = ["FEWEST_ITEMS", "KINDS", "build", "list_work", "num_lists"]

KINDS = (IVF, IVF_PQ, HNSW)
# Catalogues below this are always searched exactly: there are no clusters or codes to learn.
FEWEST_ITEMS = 256
LISTS_PER_SQRT_ITEM = 4
# FAISS's own lower bound for a cluster.
TRAINING_ROWS_PER_LIST = 39
# Training costs the square of the lists: more of them would take longer to learn than they could save.
MOST_LISTS = 8192
# With so many lists, items find theirs through a graph over the centroids instead of by comparing with each.
GRAPH_FROM_LISTS = 2048
GRAPH_LINKS, GRAPH_QUEUE = 16, 80
CENTROID_QUEUE = 64
# FAISS's own number of rounds; and centroids that an item is compared with on its way through the graph.
CLUSTERING_ROUNDS, GRAPH_COMPARISONS = 10, 1024
CODE_BITS, CODE_TRAINING_ROUNDS, CODE_TRAINING_ROWS = 8, 10, 64
BLOCK_ROWS = 1 << 17
SEED = 1


def num_lists(num_items: int) -> int:
    """Inverted lists for a catalogue: 4 sqrt(N), at most MOST_LISTS, few enough that each has items to learn from."""
    wanted = min(int(LISTS_PER_SQRT_ITEM * math.sqrt(num_items)), MOST_LISTS)
    return max(1, min(wanted, num_items // TRAINING_ROWS_PER_LIST))


def list_work(num_items: int) -> float:
    """Vectors compared while inverted lists are learnt and filled; what their build time follows."""
    nlist = num_lists(num_items)
    per_item = GRAPH_COMPARISONS if nlist >= GRAPH_FROM_LISTS else nlist
    return float(CLUSTERING_ROUNDS * TRAINING_ROWS_PER_LIST * nlist * nlist + num_items * per_item)


def build(kind: str, embeddings: NDArray[np.float32], *, on_gpu: bool = False) -> Any:
    """Build an index on all cores.

    Args:
        kind: one of KINDS.
        embeddings: float32 [N, D] by item_row, N at least FEWEST_ITEMS; may be memory-mapped.
        on_gpu: cluster and fill inverted lists on the first GPU; the index that comes back lies in host memory.
    """
    faiss.omp_set_num_threads(_num_cores())
    num_items, dim = embeddings.shape
    if kind == HNSW:
        index = faiss.IndexHNSWFlat(dim, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = GRAPH_QUEUE
    else:
        index = _inverted_file(kind, dim, num_lists(num_items))
        if on_gpu:
            index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
        _train(index, _sample(embeddings, max(num_lists(num_items) * TRAINING_ROWS_PER_LIST, _code_rows(kind))))
    lists = _graph_of_lists(index) if kind != HNSW and not on_gpu else None
    for start in range(0, num_items, BLOCK_ROWS):
        block = np.ascontiguousarray(embeddings[start : start + BLOCK_ROWS])
        if lists is None:
            index.add(block)
        else:
            of_list = np.ascontiguousarray(lists.search(block, 1)[1][:, 0])
            index.add_core(len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(of_list))
    return faiss.index_gpu_to_cpu(index) if on_gpu and kind != HNSW else index


def _inverted_file(kind: str, dim: int, nlist: int) -> Any:
    centroids = faiss.IndexFlatIP(dim)
    if kind == IVF:
        index = faiss.IndexIVFFlat(centroids, dim, nlist, faiss.METRIC_INNER_PRODUCT)
    else:
        parts = dim // 2 if dim % 2 == 0 else dim
        index = faiss.IndexIVFPQ(centroids, dim, nlist, parts, CODE_BITS, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.niter, index.pq.cp.max_points_per_centroid = CODE_TRAINING_ROUNDS, CODE_TRAINING_ROWS
        index.pq.cp.min_points_per_centroid = 1
    # The index keeps no reference of its own from Python's side.
    index.own_fields = True
    centroids.this.disown()
    index.cp.niter = CLUSTERING_ROUNDS
    index.cp.seed, index.cp.min_points_per_centroid = SEED, 1
    return index


def _train(index: Any, rows: NDArray[np.float32]) -> None:
    """Learn the lists on all cores, then the codes on one.

    The clusterings of two dimensions behind the codes are so small that threads wait for each other: 14 s on two busy
    cores, 1.3 s on one of them.
    """
    if isinstance(index, faiss.IndexIVFPQ):
        index.train_q1(len(rows), faiss.swig_ptr(rows), False, faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(1)
    index.train(rows)
    faiss.omp_set_num_threads(_num_cores())


def _graph_of_lists(index: Any) -> Any:
    """A graph over the centroids that items find their list with; None where there are few lists."""
    if index.nlist < GRAPH_FROM_LISTS:
        return None
    graph = faiss.IndexHNSWFlat(index.d, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = GRAPH_QUEUE, CENTROID_QUEUE
    graph.add(index.quantizer.reconstruct_n(0, index.nlist))
    return graph


def _code_rows(kind: str) -> int:
    return CODE_TRAINING_ROWS << CODE_BITS if kind == IVF_PQ else 0


def _sample(embeddings: NDArray[np.float32], num_rows: int) -> NDArray[np.float32]:
    if len(embeddings) <= num_rows:
        return np.ascontiguousarray(embeddings)
    rows = np.random.default_rng(SEED).choice(len(embeddings), num_rows, replace=False)
    return embeddings[np.sort(rows)]


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))
