"""Items that have few events yet, by their features alone: embeddings that a regression predicts from the features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import are_set
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.index.search import inner_products
from runtime.sources.base import Found, QueriedUser, Scorer, Source, unmarked
from runtime.spec import ChainSpec, Tensor
from runtime.step import load_array

__all__ = ["Content"]

ROWS_FILE, VECTORS_FILE = "sources/content/rows.npy", "sources/content/vectors.npy"


class Content(Source):
    """The C best of the items with few events, by the inner product of the query and what their features predict.

    Files: `rows` int32 [M], ascending, the items with few events, and `vectors` float32 [M, D].
    """

    name = "content"
    checks_stock = True

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query as well."""
        return (Tensor("query", "FP32", spec.embedding_dim), *super().inputs(spec))

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The items with few events, and the eligible ones."""
        return (ROWS_FILE, VECTORS_FILE, "eligible.npy", *super().files(spec))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        super().open(folder, spec)
        self._known, self._vectors = load_array(folder / ROWS_FILE), load_array(folder / VECTORS_FILE)
        self._keep(self.eligible(folder))
        self._count, self._marks = spec.num_candidates, np.zeros(spec.num_items, bool)

    def stock_changed(self, rows: NDArray[np.int64]) -> None:
        """Which of the items with few events may be shown now."""
        assert self.live is not None
        self._keep(self.live.bitmap)

    def _keep(self, bitmap: NDArray[np.uint8]) -> None:
        eligible = are_set(bitmap, self._known)
        self._places, self._rows = np.flatnonzero(eligible), self._known[eligible].astype(np.int64)

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """Score all of them and keep the C best."""
        free = unmarked(self._rows, user.blocked, self._marks)
        rows, places = self._rows[free], self._places[free]
        if not len(rows):
            return rows, np.zeros(0, np.float32)
        scores = inner_products(batch["query"][user.place], self._vectors, places)
        if len(rows) > self._count:
            best = np.lexsort((rows, -scores))[: self._count]
            rows, scores = rows[best], scores[best]
        return rows, scores

    def scorer_files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The vectors and whose they are."""
        return (ROWS_FILE, VECTORS_FILE)

    def scorer(self, folder: Path, spec: ChainSpec) -> Scorer:
        """Inner products; 0 for an item with many events."""
        known, vectors = load_array(folder / ROWS_FILE), load_array(folder / VECTORS_FILE)

        def score(query: NDArray, rows: NDArray) -> NDArray[np.float32]:
            scores = np.zeros(len(rows), np.float32)
            if len(known):
                places = np.minimum(np.searchsorted(known, rows), len(known) - 1).astype(np.int64)
                new = known[places] == rows
                scores[new] = inner_products(query, vectors, places[new])
            return quantise(scores, SCORE_STEP)

        return score
