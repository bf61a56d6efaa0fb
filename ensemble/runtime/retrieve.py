"""Step 3: query embedding and what the user has -> candidates, filtered inside the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from ensemble.runtime.ids import NO_ITEM
from ensemble.runtime.merge import MERGE_FILES, Merger
from ensemble.runtime.rounding import quantise
from ensemble.runtime.seen import SEEN_FILES, SeenItems
from ensemble.runtime.spec import POPULARITY, ChainSpec, Tensor
from ensemble.runtime.step import Arrays, Step, load_array

__all__ = ["RETRIEVAL_STEP", "Retrieve", "pack_rows"]

# What is said of every candidate: the score that orders them, and those of both sources.
SCORES = ("retrieval_score", "tower_score", "neighbour_score")

# Retrieved beyond C, so that rounding inside FAISS cannot decide who is the last candidate.
MARGIN = 16
# Scores are rounded to this step, so that equal items tie exactly and ties go by id.
RETRIEVAL_STEP = 2.0**-20


class Retrieve(Step):
    """The C best of what two sources find among the eligible items that the user may see.

    The two towers give their C best by inner product, the item-item lists their C best by the sum of weights over what
    the user has; the merged score orders both (`ensemble.runtime.merge`). Where nothing is known, popularity does.

    Eligibility, stock, seen and excluded items are one bitmap that FAISS checks inside the search. Where an IVF index
    finds fewer than C, the user's eligible items are searched exactly, so a slate is full whenever enough items exist.
    """

    name = "retrieve"

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        super().__init__(folder, spec)
        faiss.omp_set_num_threads(1)
        self._index = faiss.read_index(str(folder / "index.faiss"))
        self._embeddings = load_array(folder / "item_embeddings.npy")
        self._eligible = np.array(load_array(folder / "eligible.npy"))  # uint8 [ceil(N / 8)]
        self._num_eligible = int(np.unpackbits(self._eligible).sum())
        self._popular = load_array(folder / "popular.npy")
        self._popularity = load_array(folder / "popular_scores.npy")
        self._seen = SeenItems(folder)
        self._merger = Merger(folder, spec)

    @classmethod
    def inputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query, whose it is, the path and the request's items."""
        return (
            Tensor("query", "FP32", spec.embedding_dim),
            Tensor("user_row", "INT32"),
            Tensor("path_code", "INT32"),
            Tensor("recent_rows", "INT32", -1),
            Tensor("excluded_rows", "INT32", -1),
        )

    @classmethod
    def outputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`candidates`, item rows padded with -1, with the merged score and both sources', best first."""
        scores = [Tensor(name, "FP32", spec.num_candidates) for name in SCORES]
        return (Tensor("candidates", "INT32", spec.num_candidates), *scores)

    @classmethod
    def files(cls, spec: ChainSpec) -> tuple[str, ...]:
        """The index, the embeddings, item-item lists, eligible items, the popularity order and the seen items."""
        return ("index.faiss", *MERGE_FILES, "popular.npy", "popular_scores.npy", *SEEN_FILES)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Search one user at a time: FAISS takes other routes for larger batches; slates must not change with them."""
        num_users = len(batch["query"])
        candidates = np.full((num_users, self.spec.num_candidates), NO_ITEM, np.int32)
        scores = {name: np.zeros(candidates.shape, np.float32) for name in SCORES}
        for user in range(num_users):
            owned = np.concatenate([self._seen.of(int(batch["user_row"][user, 0])), batch["recent_rows"][user]])
            blocked = self._blocked(owned, batch["excluded_rows"][user])
            if batch["path_code"][user, 0] == POPULARITY:
                rows, *found = self._most_popular(blocked)
            else:
                query, count = batch["query"][user], self.spec.num_candidates
                rows, *found = self._merger.merge(query, self._nearest(query, blocked)[0], owned, blocked, count)
            candidates[user, : len(rows)] = rows
            for name, values in zip(SCORES, found, strict=False):
                scores[name][user, : len(rows)] = values
        return {"candidates": candidates, **scores}

    def _blocked(self, owned: NDArray, excluded: NDArray) -> NDArray:
        """Distinct item rows that this user must not see, ascending."""
        rows: NDArray = np.unique(np.concatenate([owned, excluded]) if self.spec.filter_seen else excluded)
        return rows[rows >= 0]

    def _most_popular(self, blocked: NDArray) -> tuple[NDArray, NDArray]:
        order = self._popular[: self.spec.num_candidates + len(blocked)]
        rows: NDArray = order[~np.isin(order, blocked)][: self.spec.num_candidates]
        return rows, np.asarray(self._popularity[rows])

    def _nearest(self, query: NDArray, blocked: NDArray) -> tuple[NDArray, NDArray]:
        bitmap, num_allowed = self._allowed(blocked)
        wanted = min(self.spec.num_candidates, num_allowed)
        rows = self._search(query, bitmap, min(wanted + MARGIN, num_allowed)) if wanted else blocked[:0]
        if len(rows) < wanted:
            rows = np.flatnonzero(np.unpackbits(bitmap, bitorder="little"))
            scores = quantise((self._embeddings @ query)[rows], RETRIEVAL_STEP)
        else:
            scores = quantise(self._embeddings[rows] @ query, RETRIEVAL_STEP)
        best = np.lexsort((rows, -scores))[:wanted]
        return rows[best], scores[best]

    def _allowed(self, blocked: NDArray) -> tuple[NDArray, int]:
        """The bitmap of the items that may be shown, and how many they are."""
        bitmap = self._eligible.copy()
        if len(blocked):
            places, bits = pack_rows(blocked)
            dropped = int(np.unpackbits(bitmap[places] & bits).sum())
            bitmap[places] &= ~bits
            return bitmap, self._num_eligible - dropped
        return bitmap, self._num_eligible

    def _search(self, query: NDArray, bitmap: NDArray, count: int) -> NDArray:
        selector = faiss.IDSelectorBitmap(bitmap)
        options: Any = faiss.SearchParameters(sel=selector)
        if self.spec.index["kind"] == "ivf":
            options = faiss.SearchParametersIVF(sel=selector, nprobe=self.spec.index["nprobe"])
        found: NDArray = self._index.search(np.ascontiguousarray(query[None]), count, params=options)[1][0]
        return found[found >= 0]


def pack_rows(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Ascending distinct rows -> positions of the bytes that hold them, and the bits inside (lowest bit first)."""
    places = rows >> 3
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    return places[starts], np.bitwise_or.reduceat((1 << (rows & 7)).astype(np.uint8), starts)
