"""The workload of an index, real queries with their filters on, and how well and how fast it answers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.index.rounding import SCORE_STEP, quantise
from runtime.index.search import ItemSearch

__all__ = ["Measured", "Truth", "Workload", "exact_answers", "measure", "recall_against"]

BLOCK_ROWS = 1 << 17
# A setting is timed on as many queries as fit in here, and on this many in any case.
TIMING_S, FEWEST_TIMED = 20.0, 32
TIMING_GROUPS = 10


class Workload(msgspec.Struct, frozen=True):
    """Queries as they come at serving time.

    Attributes:
        queries: float32 [Q, D].
        blocked: Q arrays of item rows, ascending, that the query must not be answered by.
        eligible: bool [N], the items that may be shown at all.
        num_candidates: C, items wanted per query.
        cutoff: k of index_recall_at_k, at most C.
    """

    queries: NDArray[np.float32]
    blocked: list[NDArray]
    eligible: NDArray[np.bool_]
    num_candidates: int
    cutoff: int

    def among(self, rows: NDArray[np.int64]) -> Workload:
        """The same queries on a part of the catalogue: these rows, ascending."""
        blocked = [np.searchsorted(rows, mine[np.isin(mine, rows, assume_unique=True)]) for mine in self.blocked]
        return msgspec.structs.replace(self, blocked=blocked, eligible=self.eligible[rows])


class Measured(msgspec.Struct, frozen=True):
    """How a search answers a workload, filters included.

    Attributes:
        index_recall_at_k: see `recall_against`.
        ms_per_query: on one thread.
        filled: share of the queries that got all the candidates that they wanted.
    """

    index_recall_at_k: float
    ms_per_query: float
    filled: float


class Truth(msgspec.Struct, frozen=True):
    """The answers of an exact search.

    Attributes:
        kth: float32 [Q], the k-th best score of each query, or the last where fewer than k items are allowed.
        counts: int64 [Q], how many scores that is: k, or the number of allowed items.
        wanted: int64 [Q], how many candidates fill the query: C, or the number of allowed items.
    """

    kth: NDArray[np.float32]
    counts: NDArray[np.int64]
    wanted: NDArray[np.int64]


def measure(search: ItemSearch, workload: Workload, truth: Truth, *, fill: bool = True) -> Measured:
    """Search for one query at a time, as the server does.

    Args:
        search: what to measure.
        workload: the queries.
        truth: of the workload.
        fill: as served; without it, a query is answered by what the index itself found.
    """
    found: list[NDArray] = []
    seconds: list[float] = []
    # Time on the processor: other work on the machine must not decide between two kinds. A GPU is waited for.
    clock = time.thread_time if search.runs_on_cpu else time.perf_counter
    deadline = time.perf_counter() + TIMING_S
    for query, blocked in zip(workload.queries, workload.blocked, strict=True):
        started_at = clock()
        found.append(search.nearest(query, blocked, workload.num_candidates, fill=fill)[1])
        seconds.append(clock() - started_at)
        if time.perf_counter() > deadline and len(found) >= FEWEST_TIMED:
            break
    # Each group's mean counts a slow fallback in full; their median leaves a burst of other work on the machine out.
    groups = [group.mean() for group in np.array_split(np.array(seconds), min(TIMING_GROUPS, len(seconds)))]
    recall = recall_against(truth, found)
    filled = np.mean([len(scores) >= wanted for scores, wanted in zip(found, truth.wanted, strict=False)])
    return Measured(recall, round(float(np.median(groups)) * 1000, 4), float(filled))


def exact_answers(embeddings: NDArray[np.float32], workload: Workload) -> Truth:
    """Each query's k-th largest inner product with the items that it may find; k is the cutoff.

    Args:
        embeddings: float32 [N, D]; read in blocks, so that a memory-mapped catalogue need not fit.
        workload: queries and filters.
    """
    num_queries, longest = len(workload.queries), max(map(len, workload.blocked), default=0)
    width = min(workload.cutoff + longest, len(embeddings))
    best = faiss.ResultHeap(num_queries, width, keep_max=True)
    for start in range(0, len(embeddings), BLOCK_ROWS):
        rows = start + np.flatnonzero(workload.eligible[start : start + BLOCK_ROWS])
        if len(rows):
            part = np.ascontiguousarray(embeddings[rows])
            scores, places = faiss.knn(workload.queries, part, min(width, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, rows[places])
    best.finalize()
    kth, counts = np.full(num_queries, -np.inf, np.float32), np.zeros(num_queries, np.int64)
    for query, blocked in enumerate(workload.blocked):
        of_query = best.D[query][(best.I[query] >= 0) & ~np.isin(best.I[query], blocked)]
        counts[query] = min(workload.cutoff, len(of_query))
        if len(of_query):
            kth[query] = of_query[counts[query] - 1]
    num_allowed = int(workload.eligible.sum()) - np.array([workload.eligible[rows].sum() for rows in workload.blocked])
    return Truth(quantise(kth, SCORE_STEP), counts, np.minimum(num_allowed, workload.num_candidates))


def recall_against(truth: Truth, found: Sequence[NDArray]) -> float:
    """index_recall_at_k: the mean share of the k best scores that are among the first k found.

    A found item counts where it scores at least as the exact k-th does, so that of equal items any will do.

    Args:
        truth: of at least as many queries.
        found: for each of the first queries, its scores, descending.
    """
    shares = []
    for kth, count, scores in zip(truth.kth.tolist(), truth.counts.tolist(), found, strict=False):
        # One step each for the rounding of two sums in different orders.
        hits = int((scores[:count] >= kth - 2 * SCORE_STEP).sum())
        shares.append(hits / count if count else 1.0)
    return float(np.mean(shares)) if shares else 1.0
