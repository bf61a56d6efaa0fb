"""The two towers: the items whose embeddings have the largest inner product with the query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import Allowed
from runtime.index.search import INDEX_FILE, ItemSearch, inner_products, open_index
from runtime.index.settings import EXACT
from runtime.ranker.pairs import TOWER_SCORE
from runtime.sources.base import Found, QueriedUser, Scorer, Source
from runtime.spec import ChainSpec, Tensor
from runtime.step import load_array

__all__ = ["TwoTowers"]

EMBEDDINGS_FILE = "item_embeddings.npy"


class TwoTowers(Source):
    """The C best by inner product.

    Eligibility, stock, seen and excluded items are one bitmap that is checked inside the search. Where an index finds
    fewer than C, the user's eligible items are searched exactly, so a slate is full whenever enough items exist.
    """

    name = "towers"
    score_name = TOWER_SCORE
    checks_stock = True

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query as well."""
        return (Tensor("query", "FP32", spec.embedding_dim), *super().inputs(spec))

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The index, the embeddings and the eligible items."""
        index = () if spec.index.kind == EXACT else (INDEX_FILE,)
        return (*index, EMBEDDINGS_FILE, "eligible.npy", *super().files(spec))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        super().open(folder, spec)
        index = None if spec.index.kind == EXACT else open_index(folder / INDEX_FILE, spec.num_items)
        self._allowed = Allowed(self.eligible(folder))
        self._search = ItemSearch(load_array(folder / EMBEDDINGS_FILE), self._allowed, spec.index, index)
        self._count = spec.num_candidates

    def stock_changed(self, rows: NDArray[np.int64]) -> None:
        """The search has a bitmap of its own, which it changes while it runs."""
        self._allowed.flip(rows)

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """Search for one user: FAISS takes other routes for larger batches."""
        return self._search.best(batch["query"][user.place], user.blocked, self._count)

    def scorer_files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The embeddings."""
        return (EMBEDDINGS_FILE,)

    def scorer(self, folder: Path, spec: ChainSpec) -> Scorer:
        """Inner products."""
        embeddings = load_array(folder / EMBEDDINGS_FILE)
        return lambda query, rows: inner_products(query, embeddings, rows)
