"""The items near an item: by what the item tower makes of them, and by what the item-item model has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.step import load_array

__all__ = ["Near", "alike", "raised_by", "raises"]


class Near(NamedTuple):
    """Items, the nearest first.

    Attributes:
        rows: int64 [k], of the items.
        weights: float32 [k], descending; of equal ones the smaller row is first.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]


def alike(folder: Path, row: int, count: int) -> Near:
    """The items whose embeddings are most like an item's own: by dot product; none in a chain without towers.

    Args:
        folder: of a compiled chain.
        row: of the item.
        count: at most.
    """
    path = folder / "item_embeddings.npy"
    if not path.is_file():
        return NOTHING
    embeddings = load_array(path)
    scores = np.asarray(embeddings @ embeddings[row], np.float32)
    scores[row] = -np.inf
    first = np.argpartition(-scores, min(count, len(scores) - 1))[:count]
    order = first[np.lexsort((first, -scores[first]))]
    return Near(order[order != row].astype(np.int64), scores[order[order != row]])


def raises(folder: Path, row: int, count: int) -> Near:
    """The items whose score an interaction with an item raises most; see `alike`."""
    if not (folder / "neighbours/indptr.npy").is_file():
        return NOTHING
    start, stop = load_array(folder / "neighbours/indptr.npy")[row : row + 2].tolist()
    rows = load_array(folder / "neighbours/rows.npy")[start:stop]
    return _first(rows, load_array(folder / "neighbours/weights.npy")[start:stop], count)


def raised_by(folder: Path, row: int, count: int) -> Near:
    """The items with which an interaction raises an item's score most; see `alike`."""
    if not (folder / "neighbours/indptr.npy").is_file():
        return NOTHING
    places = np.flatnonzero(load_array(folder / "neighbours/rows.npy") == row)
    owners = np.searchsorted(load_array(folder / "neighbours/indptr.npy"), places, side="right") - 1
    return _first(owners, load_array(folder / "neighbours/weights.npy")[places], count)


def _first(rows: NDArray, weights: NDArray, count: int) -> Near:
    order = np.lexsort((rows, -weights))[:count]
    return Near(rows[order].astype(np.int64), weights[order].astype(np.float32))


NOTHING = Near(np.zeros(0, np.int64), np.zeros(0, np.float32))
