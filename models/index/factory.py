"""Builds the FAISS indexes over item embeddings: inner product, positions = item rows. Imports faiss."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from runtime.index.settings import HNSW, IVF, IVF_FASTSCAN, IVF_PQ

__all__ = ["FEWEST_ITEMS", "GPU_KINDS", "KINDS", "PLANS", "Plan", "build", "list_work", "num_lists", "plans_for"]

KINDS = (IVF, IVF_FASTSCAN, IVF_PQ, HNSW)
# What FAISS can copy to a GPU, beside the exact search.
GPU_KINDS = (IVF, IVF_PQ)
# Catalogues below this are always searched exactly: there are no clusters or codes to learn.
FEWEST_ITEMS = 256
# Items that lists are learnt from, in sqrt(N), and FAISS's own lower bound for a cluster. With 39 items a list, trained
# embeddings were cut up so badly that ten times as many of them had to be looked at.
TRAINING_ROWS_PER_ROOT, TRAINING_ROWS_PER_LIST = 256, 39
# More items to learn from are taken only where lists would have fewer than that bound: it would take minutes.
MOST_TRAINING_ROWS = 1 << 18
# Training costs the square of the lists: more of them would take longer to learn than they could save.
MOST_LISTS = 8192
# With so many lists, items find theirs through a graph over the centroids instead of by comparing with each.
GRAPH_FROM_LISTS = 2048
GRAPH_LINKS, GRAPH_QUEUE = 16, 80
CENTROID_QUEUE = 64
# FAISS's own number of rounds; and centroids that an item is compared with on its way through the graph.
CLUSTERING_ROUNDS, GRAPH_COMPARISONS = 10, 1024
CODE_BITS, CODE_TRAINING_ROUNDS, CODE_TRAINING_ROWS = 8, 10, 64
# One code a dimension: half as many, of two dimensions each, need three times the over-fetch.
FASTSCAN_BITS, FASTSCAN_BLOCK = 4, 32
BLOCK_ROWS = 1 << 17
SEED = 1


class Plan(NamedTuple):
    """A kind, and how many inverted lists it gets: `lists_per_root` sqrt(N); 0 without lists."""

    kind: str
    lists_per_root: int = 0

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.kind}{self.lists_per_root}"


# How many lists are best hangs on how the items lie, and twice on how fast a list is passed over: trained embeddings in
# a few hundred clusters were searched in a third of the time with sqrt(N) lists, evenly spread ones with 4 sqrt(N).
PLANS = (Plan(IVF, 1), Plan(IVF, 4), Plan(IVF_FASTSCAN, 1), Plan(IVF_FASTSCAN, 2), Plan(IVF_PQ, 4), Plan(HNSW))


def plans_for(kind: str | None, num_items: int) -> list[Plan]:
    """The plans of a kind, or of all, without those that a small catalogue has too few items for."""
    possible = [plan for plan in PLANS if kind in (None, plan.kind)]
    distinct = {(plan.kind, num_lists(num_items, plan.lists_per_root)): plan for plan in reversed(possible)}
    return sorted(distinct.values(), key=PLANS.index)


def num_lists(num_items: int, lists_per_root: int = 4) -> int:
    """Inverted lists of a catalogue: so many times sqrt(N), at most MOST_LISTS, each with items to learn from."""
    wanted = min(int(lists_per_root * math.sqrt(num_items)), MOST_LISTS)
    return max(1, min(wanted, num_items // TRAINING_ROWS_PER_LIST))


def list_work(num_items: int, lists_per_root: int = 4) -> float:
    """Vectors compared while inverted lists are learnt and filled; what their build time follows."""
    nlist = num_lists(num_items, lists_per_root)
    per_item = GRAPH_COMPARISONS if nlist >= GRAPH_FROM_LISTS else nlist
    return float(CLUSTERING_ROUNDS * _training_rows(num_items, nlist) * nlist + num_items * per_item)


def build(kind: str, embeddings: NDArray[np.float32], *, lists_per_root: int = 4, on_gpu: bool = False) -> Any:
    """Build an index on all cores.

    Args:
        kind: one of KINDS.
        embeddings: float32 [N, D] by item_row, N at least FEWEST_ITEMS; may be memory-mapped.
        lists_per_root: inverted lists, as `num_lists` counts them.
        on_gpu: cluster and fill the lists of GPU_KINDS on the first GPU; the index comes back in host memory.
    """
    on_gpu = on_gpu and kind in GPU_KINDS
    faiss.omp_set_num_threads(_num_cores())
    num_items, dim = embeddings.shape
    if kind == HNSW:
        index = faiss.IndexHNSWFlat(dim, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = GRAPH_QUEUE
    else:
        nlist = num_lists(num_items, lists_per_root)
        index = _inverted_file(kind, dim, nlist)
        if on_gpu:
            index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
        _train(index, _sample(embeddings, max(_training_rows(num_items, nlist), _code_rows(kind))))
    with _lists_found_by_graph(index) if kind != HNSW and not on_gpu else nullcontext():
        for start in range(0, num_items, BLOCK_ROWS):
            index.add(np.ascontiguousarray(embeddings[start : start + BLOCK_ROWS]))
    return faiss.index_gpu_to_cpu(index) if on_gpu else index


def _inverted_file(kind: str, dim: int, nlist: int) -> Any:
    centroids = faiss.IndexFlatIP(dim)
    if kind == IVF:
        index = faiss.IndexIVFFlat(centroids, dim, nlist, faiss.METRIC_INNER_PRODUCT)
    elif kind == IVF_FASTSCAN:
        index = faiss.IndexIVFPQFastScan(
            centroids, dim, nlist, dim, FASTSCAN_BITS, faiss.METRIC_INNER_PRODUCT, FASTSCAN_BLOCK
        )
    else:
        parts = dim // 2 if dim % 2 == 0 else dim
        index = faiss.IndexIVFPQ(centroids, dim, nlist, parts, CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    if kind != IVF:
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
    if isinstance(index, faiss.IndexIVFPQ | faiss.IndexIVFPQFastScan):
        index.train_q1(len(rows), faiss.swig_ptr(rows), False, faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(1)
    index.train(rows)
    faiss.omp_set_num_threads(_num_cores())


@contextmanager
def _lists_found_by_graph(index: Any) -> Iterator[None]:
    """Let items find their list through a graph over the centroids, where there are many."""
    if index.nlist < GRAPH_FROM_LISTS:
        yield
        return
    centroids = index.quantizer
    graph = faiss.IndexHNSWFlat(index.d, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = GRAPH_QUEUE, CENTROID_QUEUE
    graph.add(centroids.reconstruct_n(0, index.nlist))
    index.quantizer = graph
    try:
        yield
    finally:
        index.quantizer = centroids
        # Being put into an index, it was given away.
        graph.this.acquire()


def _training_rows(num_items: int, nlist: int) -> int:
    wanted = min(int(TRAINING_ROWS_PER_ROOT * math.sqrt(num_items)), MOST_TRAINING_ROWS)
    return min(max(wanted, TRAINING_ROWS_PER_LIST * nlist), num_items)


def _code_rows(kind: str) -> int:
    return {IVF_PQ: CODE_TRAINING_ROWS << CODE_BITS, IVF_FASTSCAN: CODE_TRAINING_ROWS << FASTSCAN_BITS}.get(kind, 0)


def _sample(embeddings: NDArray[np.float32], num_rows: int) -> NDArray[np.float32]:
    if len(embeddings) <= num_rows:
        return np.ascontiguousarray(embeddings)
    rows = np.random.default_rng(SEED).choice(len(embeddings), num_rows, replace=False)
    return embeddings[np.sort(rows)]


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))
