"""What Merlin Systems' retrieval lacks beside ours: the other sources, the cut to C candidates, and their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from merlin.dag import ColumnSelector
from merlin.schema import Schema
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.merlin.lookups import CHAIN, EMBEDDINGS, PATH_CODE, USER_ROW
from ensemble.merlin.stored import StoredOperator
from runtime.ids import NO_ITEM
from runtime.index.search import inner_products
from runtime.ranker.pairs import POPULARITY, pair_features
from runtime.sources.chosen import chosen_sources, merge_of
from runtime.sources.towers import TwoTowers
from runtime.spec import ChainSpec
from runtime.step import load_array

__all__ = ["CANDIDATES", "PAIR", "MergeSources"]

CANDIDATES, PAIR = "candidate_rows", "pair"


class Sources:
    """What `MergeSources` has opened: the other sources of the chain and its merge, as the server has them.

    Args:
        folder: see StoredOperator.
    """

    def __init__(self, folder: Path) -> None:
        chain = folder / CHAIN
        spec = ChainSpec.load(chain)
        self._embeddings, self._count = load_array(folder / EMBEDDINGS), spec.num_candidates
        sources = chosen_sources(spec)
        self._others = [source for source in sources if not isinstance(source, TwoTowers)]
        self._merge = merge_of(spec)
        for step in (*self._others, self._merge):
            step.open(chain, spec)
        self._names = spec.ranker.pair_inputs
        self._popularity = load_array(chain / "ranker/item_popularity.npy") if POPULARITY in self._names else None

    def candidates(self, query: NDArray, kept: NDArray, user_row: int, path_code: int) -> tuple[NDArray, NDArray]:
        """The candidates of one user, best first, and what the ranker sees of each.

        Args:
            query: float32 [D].
            kept: item rows that the towers found and the filter kept.
            user_row: -1 for an unknown user.
            path_code: what the slate rests on.

        Returns:
            int32 [K] and float32 [K, P], K at most C; one row -1 where there is no candidate, as Merlin's executor
            loses the columns of an empty table.
        """
        one = {"user_row": user_row, "path_code": path_code, "recent_rows": NO_ITEM, "excluded_rows": NO_ITEM}
        batch = {"query": query[None], **{name: np.array([[value]], np.int32) for name, value in one.items()}}
        rows, scores = self._best(query, kept)
        batch |= {f"{TwoTowers.name}_items": rows[None], f"{TwoTowers.name}_scores": scores[None]}
        for source in self._others:
            batch |= source(batch)
        merged = self._merge(batch)
        found = merged["candidates"]
        num_found = max(1, int((found != NO_ITEM).sum()))
        given = {name: merged[name] for name in self._names if name in merged}
        pair = pair_features(self._names, found, given, self._popularity)
        return found[0, :num_found], pair[0, :num_found]

    def _best(self, query: NDArray, kept: NDArray) -> tuple[NDArray, NDArray]:
        """The C best of what was kept, ties by row, with the scores that `QueryFaiss` does not hand on."""
        rows = np.ascontiguousarray(kept, np.int64)
        scores = inner_products(query, self._embeddings, rows)
        best = np.lexsort((rows, -scores))[: self._count]
        return rows[best], scores[best]


class MergeSources(StoredOperator):
    """Kept candidates, query and user -> the C best of all sources, and the ranker's pair features.

    Args:
        folder: see StoredOperator.
        outputs: schema of what it gives.
        query: the column of the query embedding.
    """

    files = (CHAIN, EMBEDDINGS)

    def __init__(self, folder: Path, outputs: Schema, query: str) -> None:
        super().__init__(folder, outputs)
        self.query = query

    def open(self, folder: Path) -> Sources:
        """The sources."""
        return Sources(folder)

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> TensorTable:
        """Merge the sources of one user."""
        query, kept, row, path = (
            transformable[name].values.reshape(-1) for name in (self.query, "filtered_ids", USER_ROW, PATH_CODE)
        )
        query = np.ascontiguousarray(query, np.float32)
        rows, pair = self._opened.candidates(query, kept, int(row[0]), int(path[0]))
        return TensorTable({CANDIDATES: rows, PAIR: pair})
