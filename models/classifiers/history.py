"""The user's history as numbers for a classifier; the ranker sees the same latest items themselves.

Of the items in the history of an event and the item that it is about: how many there are, which share of them has the
same category (or a category in common), and how similar they are by who likes both. Where events are ordered, also how
many labelled events the user had before, and which share of them was positive.

Similarity is the cosine of item vectors, the leading singular vectors of the matrix of positive pairs (Deerwester et
al., "Indexing by latent semantic analysis", JASIS 41(6), 1990). Rows that vectors are fitted on are described by the
vectors of the other users alone, so that no row sees its own label in them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.classifiers.base import Table
from models.dataset.features import Features
from workflows.features.schema import ITEM_ID, NULL, OOV, PADDING, Feature

__all__ = ["Past", "item_vectors", "other_users_vectors", "with_history"]

DIM = 32
NUM_FOLDS = 5
CHUNK_CELLS = 4_000_000
RATE_ROWS = 10.0  # rows of the overall share added to a user's own

Floats = NDArray[np.float32]


class Past:
    """Labelled events of every user in order of time, to count those before an instant.

    Args:
        user_row: int64 [R].
        at: int64 [R].
        labels: float32 [R], 1 or 0.
        overall: the share of positive ones that users without a past are given.
    """

    def __init__(self, user_row: NDArray[np.int64], at: NDArray[np.int64], labels: Floats, overall: float) -> None:
        order = np.lexsort((at, user_row))
        self._users, self._at = user_row[order], at[order]
        self._positives = np.append(0.0, np.cumsum(labels[order], dtype=np.float64))
        self.overall = overall

    def before(
        self, user_row: NDArray[np.int64], at: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How many events each user had strictly before an instant, and how many of them were positive; [B] each."""
        first = np.searchsorted(self._users, user_row)
        instants, inverse = np.unique(np.concatenate([self._at, at]), return_inverse=True)
        known, wanted = inverse[: len(self._at)], inverse[len(self._at) :]
        keys = self._users * len(instants) + known
        last = np.maximum(np.searchsorted(keys, user_row * len(instants) + wanted), first)
        return last - first, self._positives[last] - self._positives[first]


def item_vectors(user_row: NDArray[np.int64], codes: NDArray[np.int32], num_codes: int) -> Floats:
    """Unit vectors of items by who likes them; zeros for an item without a positive pair.

    Args:
        user_row: int64 [P], users of the positive pairs.
        codes: int32 [P], their item codes.
        num_codes: V.

    Returns:
        float32 [V, at most DIM].
    """
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import svds

    users, owner = np.unique(user_row, return_inverse=True)
    shape = (max(len(users), 1), num_codes)
    likes = csr_matrix((np.ones(len(owner)), (owner, codes)), shape=shape)
    likes.data[:] = 1.0  # a pair counts once
    dim = min(DIM, min(shape) - 1)
    if dim < 1 or not likes.nnz:
        return np.zeros((num_codes, 1), np.float32)
    rows, columns = (np.asarray(likes.sum(axis=axis)).ravel() for axis in (1, 0))
    scaled = diags(np.maximum(rows, 1) ** -0.5) @ likes @ diags(np.maximum(columns, 1) ** -0.5)
    _, sizes, right = svds(scaled, k=dim, v0=np.ones(min(shape)))
    vectors = right.T * sizes
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = length > 1e-9
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=known), np.float32)


def other_users_vectors(table: Table, num_codes: int) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Rows of `table` and item vectors of the users of all other rows, a fifth of the users at a time."""
    fold = table.user_row % NUM_FOLDS
    for number in range(NUM_FOLDS):
        inside = fold == number
        if inside.any():
            yield np.flatnonzero(inside), _vectors_of(table, ~inside, num_codes)


def with_history(
    table: Table, features: Features, known: Table, past: Past | None, *, fitted_on_it: bool = False
) -> Table:
    """The table with columns that describe the history of each event.

    Args:
        table: R events with their histories.
        features: of the run; item features by row.
        known: the events whose positive pairs make the item vectors.
        past: labelled events, to count those before each event; None: nothing is ordered.
        fitted_on_it: `table` is among `known`, so its rows are described by the vectors of other users.
    """
    num_codes = next(f.cardinality for f in features.schema.side("item") if f.name == ITEM_ID)
    parts: Iterator[tuple[NDArray[np.int64], Floats]]
    if fitted_on_it:
        parts = other_users_vectors(table, num_codes)
    else:
        everything = np.ones(len(known), bool)
        parts = iter([(np.arange(len(table)), _vectors_of(known, everything, num_codes))])
    columns = _shares(table, features)
    similar = np.zeros((len(table), 3), np.float32)
    for rows, vectors in parts:
        similar[rows] = _similarity(table.columns[ITEM_ID][rows, 0], table.history[rows], vectors)
    for place, name in enumerate(("mean", "largest", "latest")):
        columns[f"history similarity, {name}"] = similar[:, place]
    if past is not None:
        count, positive = past.before(table.user_row, table.at)
        columns["events before"] = np.log1p(count)
        columns["positive share before"] = (positive + RATE_ROWS * past.overall) / (count + RATE_ROWS)
    return table.beside({name: np.asarray(values, np.float32)[:, None] for name, values in columns.items()})


def _vectors_of(table: Table, rows: NDArray[np.bool_], num_codes: int) -> Floats:
    kept = rows & (table.labels > 0.5) & (table.columns[ITEM_ID][:, 0] > OOV)
    return item_vectors(table.user_row[kept], table.columns[ITEM_ID][kept, 0], num_codes)


def _shares(table: Table, features: Features) -> dict[str, NDArray]:
    """Length of the history and, of every categorical item feature, the share of its items that agree with the item."""
    length = (table.history != PADDING).sum(axis=1)
    columns: dict[str, NDArray] = {"history length": np.log1p(length)}
    for feature in features.schema.side("item"):
        if feature.kind == "categorical" and feature.name != ITEM_ID:
            by_code = _by_code(feature, features)
            agree = np.zeros(len(table))
            for part in _chunks(len(table), table.history.shape[1] * max(feature.length, 1) ** 2):
                agree[part] = _agree(table.columns[feature.name][part], by_code[table.history[part]])
            columns[f"history, same {feature.name}"] = agree / np.maximum(length, 1)
    return columns


def _by_code(feature: Feature, features: Features) -> NDArray[np.int32]:
    """Codes of a feature by item code, [V, 1 or length]; padding for items that no code stands for."""
    codes, values = features.items[ITEM_ID], features.items[feature.name]
    values = values[:, None] if values.ndim == 1 else values
    size = next(f.cardinality for f in features.schema.side("item") if f.name == ITEM_ID)
    table = np.zeros((size, values.shape[1]), np.int32)
    known = codes > OOV
    table[codes[known]] = values[known]
    return table


def _agree(item: NDArray, history: NDArray) -> NDArray[np.int64]:
    """How many items of each history have a code in common with the item: [B, M] and [B, L, M] -> [B]."""
    same = (item[:, None, :, None] == history[:, :, None, :]) & (item > NULL)[:, None, :, None]
    return np.asarray(same.any(axis=(2, 3)).sum(axis=1))


def _similarity(items: NDArray, history: NDArray, vectors: Floats) -> Floats:
    """Mean and largest cosine with the history's items, and that with the latest one; 0 without any: [B, 3]."""
    found = np.zeros((len(items), 3), np.float32)
    for part in _chunks(len(items), history.shape[1] * vectors.shape[1]):
        past = history[part]
        there = past != PADDING
        cosine = np.einsum("bd,bld->bl", vectors[items[part]], vectors[past])
        length = there.sum(axis=1)
        latest = np.maximum(length - 1, 0)
        found[part, 0] = np.where(there, cosine, 0.0).sum(axis=1) / np.maximum(length, 1)
        found[part, 1] = np.where(length > 0, np.where(there, cosine, -1.0).max(axis=1, initial=-1.0), 0.0)
        if past.shape[1]:
            found[part, 2] = np.where(length > 0, cosine[np.arange(len(past)), latest], 0.0)
    return found


def _chunks(num_rows: int, cells: int) -> Iterator[slice]:
    step = max(1, CHUNK_CELLS // max(cells, 1))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))
