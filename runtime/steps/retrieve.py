"""Step 3: query embedding and what the user has -> candidates, filtered inside the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.ids import NO_ITEM
from runtime.index.allowed import Allowed
from runtime.index.search import INDEX_FILE, ItemSearch, open_index
from runtime.index.settings import EXACT
from runtime.seen import SEEN_FILES, SeenItems
from runtime.spec import POPULARITY, ChainSpec, Tensor
from runtime.step import Arrays, Step, load_array
from runtime.steps.merge import MERGE_FILES, Merger

__all__ = ["Retrieve"]

# What is said of every candidate: the score that orders them, and those of both sources.
SCORES = ("retrieval_score", "tower_score", "neighbour_score")


class Retrieve(Step):
    """The C best of what two sources find among the eligible items that the user may see.

    The two towers give their C best by inner product, the item-item lists their C best by the sum of weights over what
    the user has; the merged score orders both (`runtime.steps.merge`). Where nothing is known, popularity does.

    Eligibility, stock, seen and excluded items are one bitmap that is checked inside the search. Where an index finds
    fewer than C, the user's eligible items are searched exactly, so a slate is full whenever enough items exist.
    """

    name = "retrieve"
    is_heavy = True

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._spec = spec
        settings = spec.index
        index = None if settings.kind == EXACT else open_index(folder / INDEX_FILE, spec.num_items)
        allowed = Allowed(load_array(folder / "eligible.npy"))
        self._search = ItemSearch(load_array(folder / "item_embeddings.npy"), allowed, settings, index)
        self._popular = load_array(folder / "popular.npy")
        self._popularity = load_array(folder / "popular_scores.npy")
        self._seen = SeenItems(folder)
        self._merger = Merger(folder, spec)

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query, whose it is, the path and the request's items."""
        return (
            Tensor("query", "FP32", spec.embedding_dim),
            Tensor("user_row", "INT32"),
            Tensor("path_code", "INT32"),
            Tensor("recent_rows", "INT32", -1),
            Tensor("excluded_rows", "INT32", -1),
        )

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`candidates`, item rows padded with -1, with the merged score and both sources', best first."""
        scores = [Tensor(name, "FP32", spec.num_candidates) for name in SCORES]
        return (Tensor("candidates", "INT32", spec.num_candidates), *scores)

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The index, the embeddings, item-item lists, eligible items, the popularity order and the seen items."""
        index = () if spec.index.kind == EXACT else (INDEX_FILE,)
        return (*index, *MERGE_FILES, "popular.npy", "popular_scores.npy", *SEEN_FILES)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Search one user at a time: FAISS takes other routes for larger batches; slates must not change with them."""
        num_users = len(batch["query"])
        candidates = np.full((num_users, self._spec.num_candidates), NO_ITEM, np.int32)
        scores = {name: np.zeros(candidates.shape, np.float32) for name in SCORES}
        user_rows, paths = batch["user_row"][:, 0].tolist(), batch["path_code"][:, 0].tolist()
        for user, (user_row, path) in enumerate(zip(user_rows, paths, strict=True)):
            requested, excluded = _items(batch["recent_rows"][user]), _items(batch["excluded_rows"][user])
            owned = _union(self._seen.of(user_row), requested)
            blocked = _union(owned, excluded) if self._spec.filter_seen else _union(owned[:0], excluded)
            if path == POPULARITY:
                rows, *found = self._most_popular(blocked)
            else:
                query = batch["query"][user]
                near = self._search.best(query, blocked, self._spec.num_candidates)
                recent = self._merger.recent(user_row, requested)
                rows, *found = self._merger.merge(query, *near, owned, recent, blocked)
            candidates[user, : len(rows)] = rows
            for name, values in zip(SCORES, found, strict=False):
                scores[name][user, : len(rows)] = values
        return {"candidates": candidates, **scores}

    def _most_popular(self, blocked: NDArray) -> tuple[NDArray, NDArray]:
        order = self._popular[: self._spec.num_candidates + len(blocked)]
        rows: NDArray = order[~np.isin(order, blocked)][: self._spec.num_candidates]
        return rows, np.asarray(self._popularity[rows])


def _items(rows: NDArray) -> NDArray:
    """The rows without the padding."""
    items: NDArray = rows[rows >= 0]
    return items


def _union(rows: NDArray, more: NDArray) -> NDArray:
    """Distinct rows, ascending; `rows` are so already."""
    return np.unique(np.concatenate([rows, more])) if len(more) else rows
