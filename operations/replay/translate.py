"""Rows of one version's users and items as rows of another's, by way of raw ids that stay in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.ids import UNKNOWN

__all__ = ["Rows"]

Pair = tuple[NDArray, NDArray]


class Rows:
    """Between two versions.

    Args:
        users: raw ids of the one that answered, and of the one that is asked; None: they are the same version.
        items: the same of items.
    """

    def __init__(self, users: Pair | None, items: Pair | None) -> None:
        self._users = None if users is None else _places(*users)
        self._items = None if items is None else _places(*items)
        self._back = None if items is None else _places(items[1], items[0])

    @classmethod
    def same(cls) -> Rows:
        """Where nothing changes."""
        return cls(None, None)

    def question(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """A question in rows of the version that is asked."""
        if self._users is None or self._items is None:
            return dict(question)
        lists = {name: [_moved(self._items, rows) for rows in question[name]] for name in ("recent", "excluded")}
        return {**question, **lists, "user_row": _moved(self._users, question["user_row"])}

    def answer(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one user in rows of the version that answered first; an item that it lacks is UNKNOWN."""
        if self._back is None:
            return dict(answer)
        return {**answer, "item_rows": _moved(self._back, answer["item_rows"])}


def _places(ids: NDArray, others: NDArray) -> NDArray[np.int64]:
    """For each id its place among the others, both ascending; UNKNOWN where it is not there."""
    if not len(others) or ids.dtype.kind != others.dtype.kind:
        return np.full(len(ids), UNKNOWN, np.int64)
    at = np.minimum(np.searchsorted(others, ids), len(others) - 1)
    return np.where(others[at] == ids, at, UNKNOWN)


def _moved(places: NDArray[np.int64], rows: Sequence[int]) -> list[int]:
    """Padding and what was unknown stay as they are."""
    return [int(places[row]) if row >= 0 else row for row in rows]
