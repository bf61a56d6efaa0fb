"""Two orders of the same items as one slate, by team draft: clicks on it say which order its reader prefers.

The teams take turns in pairs; who is first in a pair is tossed for, and each takes the best item of its order that is
not in the slate yet. What both orders begin with alike says nothing of either, and no team is credited for it; nor for
what one team adds after the other has no items left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST", "NOBODY", "SECOND", "Interleaved", "credit", "interleave"]

FIRST, SECOND, NOBODY = 0, 1, -1


class Interleaved(NamedTuple):
    """A slate of two teams.

    Attributes:
        items: int64 [S], no item twice.
        teams: int32 [S], FIRST, SECOND or NOBODY.
    """

    items: NDArray[np.int64]
    teams: NDArray[np.int32]


def interleave(first: Sequence[int], second: Sequence[int], size: int, seed: int) -> Interleaved:
    """Draft a slate.

    Args:
        first: items in one order, best first.
        second: in another; either may be the longer one, and hold items that the other does not.
        size: places of the slate; fewer come where both orders hold no more.
        seed: of the tosses: the same seed gives the same slate.

    Example:
        >>> interleave([1, 2, 3], [1, 3, 4], 3, seed=0).items.tolist()
        [1, 3, 2]
    """
    orders = tuple(list(dict.fromkeys(order)) for order in (first, second))
    items: list[int] = []
    for ours, theirs in zip(*orders, strict=False):
        if ours != theirs or len(items) == size:
            break
        items.append(ours)
    teams = [NOBODY] * len(items)
    taken, places = set(items), [len(items)] * 2
    tosses = np.random.default_rng(seed).integers(0, 2, size).tolist()
    turns = (team for toss in tosses for team in (toss, 1 - toss))
    for team in turns:
        left = [_skip(order, place, taken) for order, place in zip(orders, places, strict=True)]
        has = [place < len(order) for order, place in zip(orders, left, strict=True)]
        if len(items) >= size or not any(has):
            break
        mover = team if has[team] else 1 - team
        items.append(orders[mover][left[mover]])
        teams.append(team if all(has) else NOBODY)
        taken.add(items[-1])
        places = left
    return Interleaved(np.array(items, np.int64), np.array(teams, np.int32))


def credit(teams: NDArray[np.int32], clicked: NDArray[np.bool_]) -> int:
    """Which order a reader preferred: 1 for the second, -1 for the first, 0 for neither.

    Args:
        teams: int32 [S].
        clicked: bool [S].
    """
    return int(np.sign((clicked & (teams == SECOND)).sum() - (clicked & (teams == FIRST)).sum()))


def _skip(order: Sequence[int], place: int, taken: set[int]) -> int:
    """The place of the best item that is not in the slate yet."""
    while place < len(order) and order[place] in taken:
        place += 1
    return place
