"""Embeddings that item features alone predict, for items with few events.

A ridge regression from the one-hot item features to the embeddings of the item tower, fitted on the items that have
events. Source of the idea: Gantner et al., "Learning attribute-to-feature mappings for cold-start recommendations",
ICDM 2010.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.dataset.features import Features
from models.sources.base import NOT_MEANT, AsOf, Fitted
from models.sources.config import ContentConfig
from runtime.sources.content import ROWS_FILE, VECTORS_FILE
from workflows.features.schema import ITEM_ID, PADDING, Feature

__all__ = ["ContentFit", "FittedContent", "design_matrix"]

HELD_OUT_SHARE = 0.2


class FittedContent:
    """Predicted embeddings of the items with few events.

    Args:
        rows: int32 [M], ascending.
        vectors: float32 [M, D].
        num_items: N.
        setting: the ridge.
    """

    def __init__(
        self, rows: NDArray[np.int32], vectors: NDArray[np.float32], num_items: int, setting: float | None
    ) -> None:
        self._rows, self._vectors, self._num_items, self.setting = rows, vectors, num_items, setting
        self.files: dict[str, NDArray] = {ROWS_FILE: rows, VECTORS_FILE: vectors}

    def scores(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """[B, N]."""
        scores = np.full((len(embedded), self._num_items), NOT_MEANT, np.float32)
        scores[:, self._rows] = embedded @ self._vectors.T
        return scores


class ContentFit:
    """The regression.

    Args:
        config: its section.
        seed: of the items that choose the ridge.
    """

    name: ClassVar[str] = "content"
    step: ClassVar[str] = "runtime.sources.content:Content"

    def __init__(self, config: ContentConfig, seed: int) -> None:
        self._config, self._seed = config, seed

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """With the ridge that predicts the embeddings of other items best."""
        if not any(feature.name != ITEM_ID for feature in as_of.features.schema.side("item")):
            return "the items have no features"
        counts = np.asarray(as_of.state.popularity)
        few = np.flatnonzero(counts <= self._config.max_events)
        if not len(few):
            return f"every item has more than {self._config.max_events} events"
        learnt_from = np.flatnonzero(counts > self._config.max_events)
        if len(learnt_from) < 2 * as_of.embeddings.shape[1]:
            return f"only {len(learnt_from)} items have events enough to learn from"
        few = np.sort(few[np.lexsort((few, -counts[few]))[: self._config.max_items]])
        design = design_matrix(as_of.features, self._config.max_columns)
        ridge = self._ridge(design, as_of.embeddings, learnt_from)
        weights = _solve(design[learnt_from], as_of.embeddings[learnt_from], ridge)
        vectors = (design[few] @ weights).astype(np.float32)
        return [FittedContent(few.astype(np.int32), np.ascontiguousarray(vectors), as_of.num_items, ridge)]

    def _ridge(self, design: sparse.csr_matrix, embeddings: NDArray, rows: NDArray) -> float:
        """The one with the smallest squared error on a fifth of the items."""
        if len(self._config.l2) == 1:
            return self._config.l2[0]
        drawn = np.random.default_rng(self._seed).permutation(rows)
        cut = max(1, int(HELD_OUT_SHARE * len(drawn)))
        held, kept = drawn[:cut], drawn[cut:]
        errors = [
            float(((design[held] @ _solve(design[kept], embeddings[kept], l2) - embeddings[held]) ** 2).sum())
            for l2 in self._config.l2
        ]
        return self._config.l2[int(np.argmin(errors))]


def design_matrix(features: Features, max_columns: int) -> sparse.csr_matrix:
    """The item features but the id as columns: a code is one-hot, a list's codes share 1, a number is itself.

    Args:
        features: of the run.
        max_columns: the most frequent codes are kept; a constant column is added.

    Returns:
        float32 [N, at most max_columns + numbers + 1].
    """
    num_items = features.num_items
    coded, numbers = [], [np.ones((num_items, 1), np.float32)]
    for feature in features.schema.side("item"):
        if feature.name == ITEM_ID:
            continue
        values = features.items[feature.name]
        if feature.kind == "categorical":
            coded.append(_one_hot(feature, values))
        else:
            numbers.append(values.reshape(num_items, -1).astype(np.float32))
    columns = sparse.hstack(coded).tocsc() if coded else sparse.csc_matrix((num_items, 0), dtype=np.float32)
    used = np.diff(columns.indptr)
    kept = np.sort(np.lexsort((np.arange(len(used)), -used))[:max_columns])
    return sparse.hstack([columns[:, kept[used[kept] > 0]], *map(sparse.csr_matrix, numbers)]).tocsr()


def _one_hot(feature: Feature, values: NDArray) -> sparse.csr_matrix:
    codes = values.reshape(len(values), -1)
    present = codes != PADDING
    lengths = present.sum(axis=1)
    shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    indptr = np.append(0, np.cumsum(lengths))
    return sparse.csr_matrix((shares, codes[present], indptr), shape=(len(codes), feature.cardinality))


def _solve(design: sparse.csr_matrix, targets: NDArray, l2: float) -> NDArray[np.float64]:
    """Ridge regression weights, float64 [F, D]."""
    gram = (design.T @ design).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += l2
    solved: NDArray[np.float64] = np.linalg.solve(gram, design.T @ targets.astype(np.float64))
    return solved
