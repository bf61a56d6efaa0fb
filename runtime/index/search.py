"""Filtered search as it is served: one query at a time, best first, ties by row. NumPy and FAISS alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import Allowed
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.index.settings import EXACT, HNSW, IVF_FASTSCAN, Settings

__all__ = ["INDEX_FILE", "MARGIN", "ItemSearch", "inner_products", "open_index"]

INDEX_FILE = "index.faiss"
# Fetched beyond what is wanted, so that rounding inside FAISS cannot decide who is the last candidate.
MARGIN = 16
# Where more items than the margin tie at the end, this many times as many are fetched, until the tie is seen whole.
TIE_GROWTH = 8
# A query that may be answered by fewer items than this many times the wanted ones is answered by looking at each.
FEW_ITEMS = 8
# An item that is looked at alone costs about as much as so many that an index passes over in a row.
LISTED_COST = 3
# The largest k, and the most lists, of FAISS on a GPU.
GPU_MAX_FETCH = 2048


def open_index(path: Path, num_items: int) -> Any:
    """Open an index file; inverted lists stay memory-mapped, so that the processes of a machine share them.

    Those of IVF_FASTSCAN FAISS reads into memory: 40 bytes an item at 64 dimensions.

    Raises:
        ValueError: the index does not hold `num_items` items.
    """
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    if index.ntotal != num_items:
        raise ValueError(f"{path} holds {index.ntotal} items, the embeddings {num_items}: build the index again")
    if hasattr(index, "invlists"):
        # FAISS would start up to 32 threads a query to prefetch mapped lists.
        faiss.downcast_InvertedLists(index.invlists).prefetch_nthread = 0
    return index


class ItemSearch:
    """The best items for a query among those that may be shown.

    An exact search reads the embeddings in place; the other kinds find candidates that are ordered by their embeddings.

    Args:
        embeddings: float32 [N, D] by item_row; may be memory-mapped.
        allowed: the items that anybody may see; searches change it while they run.
        settings: of the index.
        index: what `open_index` gave; None where the search is exact.
    """

    def __init__(
        self, embeddings: NDArray[np.float32], allowed: Allowed, settings: Settings, index: Any = None
    ) -> None:
        faiss.omp_set_num_threads(1)
        settings = settings.widened(allowed.num_eligible / max(len(embeddings), 1))
        self._embeddings, self._allowed, self._settings = embeddings, allowed, settings
        self._selector = faiss.IDSelectorBitmap(allowed.bitmap)
        self._options = _options(settings, self._selector)
        self.runs_on_cpu = settings.device == "cpu" or not _has_gpu()
        self._index = index if self.runs_on_cpu else _to_gpu(index, embeddings, settings)
        self._few = settings.compared(len(embeddings), getattr(index, "nlist", 0)) / LISTED_COST

    def nearest(
        self, query: NDArray[np.float32], blocked: NDArray, count: int, *, fill: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Search.

        Args:
            query: float32 [D].
            blocked: distinct item rows that this query must not be answered by, ascending.
            count: how many items are wanted.
            fill: search exactly where the index finds fewer; without it, what the index found is all.

        Returns:
            Item rows and their inner products rounded to SCORE_STEP, descending, ties by row; `count` of them
            wherever so many are allowed.
        """
        rows, scores = self.best(query, blocked, count, fill=fill)
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    def best(
        self, query: NDArray[np.float32], blocked: NDArray, count: int, *, fill: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """`nearest`, in no particular order."""
        query = np.ascontiguousarray(query, np.float32)
        with self._allowed.without(blocked) as num_allowed:
            wanted = min(count, num_allowed)
            if not wanted:
                return np.zeros(0, np.int64), np.zeros(0, np.float32)
            return self._settle(query, wanted, num_allowed, len(blocked), fill)

    def _settle(
        self, query: NDArray, wanted: int, num_allowed: int, num_blocked: int, fill: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The wanted items with their scores, after it is certain that nothing unseen ties with the last of them."""
        fetch = min(wanted + MARGIN, num_allowed)
        exact = self._index is None or num_allowed <= max(FEW_ITEMS * fetch, self._few)
        while True:
            rows = self._exact(query, fetch) if exact else self._approximate(query, fetch, num_blocked)
            if len(rows) < wanted and fill:
                # Strikes where the filters leave too little of what the index looks at: a small share of the items is
                # allowed, or few lists are probed. Costs a pass over the allowed items, which keeps the slate full.
                exact = True
                continue
            scores = inner_products(query, self._embeddings, rows)
            if len(rows) <= wanted:
                return rows, scores
            last = np.partition(scores, len(rows) - wanted)[len(rows) - wanted]
            if len(rows) < fetch or fetch == num_allowed or scores.min() < last - 2 * SCORE_STEP:
                return _cut(rows, scores, last, wanted)
            fetch = min(fetch * TIE_GROWTH, num_allowed)

    def _exact(self, query: NDArray, fetch: int) -> NDArray[np.int64]:
        num_items, dim = self._embeddings.shape
        listed = self._allowed.listed()
        if listed is not None:
            order = np.argpartition(inner_products(query, self._embeddings, listed), -fetch)[-fetch:]
            return np.ascontiguousarray(listed[order])
        scores, rows = np.empty(fetch, np.float32), np.empty(fetch, np.int64)
        pointers = (faiss.swig_ptr(array) for array in (query, self._embeddings))
        found = (faiss.swig_ptr(scores), faiss.swig_ptr(rows))
        faiss.knn_inner_product(*pointers, dim, 1, num_items, fetch, *found, self._selector)
        return rows[rows >= 0]

    def _approximate(self, query: NDArray, fetch: int, num_blocked: int) -> NDArray[np.int64]:
        settings, options = self._settings, self._options
        if not self.runs_on_cpu or settings.kind == IVF_FASTSCAN:
            return self._unfiltered(query, fetch * settings.overfetch, num_blocked)
        if settings.kind == HNSW:
            options.efSearch = max(settings.ef_search, fetch)
        fetch = min(fetch * settings.overfetch, len(self._embeddings))
        found: NDArray[np.int64] = self._index.search(query[None], fetch, params=options)[1][0]
        return found[found >= 0]

    def _unfiltered(self, query: NDArray, fetch: int, num_blocked: int) -> NDArray[np.int64]:
        """Fetch as many more as the filters are expected to drop, then drop them."""
        share = self._allowed.num_eligible / len(self._embeddings)
        expected = math.ceil((fetch + num_blocked) / share) + MARGIN
        most = min(expected, len(self._embeddings) if self.runs_on_cpu else GPU_MAX_FETCH, len(self._embeddings))
        options = self._options if self.runs_on_cpu else None
        found: NDArray[np.int64] = self._index.search(query[None], most, params=options)[1][0]
        found = found[found >= 0]
        return found[self._allowed.holds(found)][:fetch]


def inner_products(
    query: NDArray[np.float32], embeddings: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Inner products of a query with some of the embeddings, read in place.

    Args:
        query: float32 [D], contiguous.
        embeddings: float32 [N, D], contiguous; may be memory-mapped.
        rows: int64 [K], contiguous, none negative.

    Returns:
        float32 [K], rounded to SCORE_STEP; each is computed alone, so that it does not depend on the other rows.
    """
    scores = np.empty(len(rows), np.float32)
    pointers = [faiss.swig_ptr(array) for array in (scores, query, embeddings, rows)]
    faiss.fvec_inner_products_by_idx(*pointers, len(query), 1, len(rows))
    return quantise(scores, SCORE_STEP)


def _cut(
    rows: NDArray[np.int64], scores: NDArray[np.float32], last: float, wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The wanted items down to the score of the last of them; of those that tie with it, the first by row."""
    kept = scores >= last
    if np.count_nonzero(kept) > wanted:
        kept = np.lexsort((rows, -scores))[:wanted]
    return rows[kept], scores[kept]


def _options(settings: Settings, selector: Any) -> Any:
    """FAISS' search parameters; making them takes longer than filling them in again."""
    if settings.kind == HNSW:
        return faiss.SearchParametersHNSW(sel=selector, efSearch=settings.ef_search)
    checked = None if settings.kind == IVF_FASTSCAN else selector
    return faiss.SearchParametersIVF(sel=checked, nprobe=settings.nprobe)


def _has_gpu() -> bool:
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def _to_gpu(index: Any, embeddings: NDArray[np.float32], settings: Settings) -> Any:
    """The index on the first GPU; an exact one is made from the embeddings there."""
    resources = faiss.StandardGpuResources()
    if settings.kind == EXACT:
        on_gpu = faiss.GpuIndexFlatIP(resources, embeddings.shape[1])
        on_gpu.add(np.ascontiguousarray(embeddings))
        return on_gpu
    on_gpu = faiss.index_cpu_to_gpu(resources, 0, index)
    on_gpu.nprobe = min(settings.nprobe, index.nlist, GPU_MAX_FETCH)
    return on_gpu
