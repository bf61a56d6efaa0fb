"""Two orders of the same items as one slate, by team draft: clicks on it say which order its reader prefers.

What both orders have at the same place stays there: it says nothing of either, and no team is credited for it. So a
pinned item keeps its place. For the places in between the teams take turns in pairs; who is first in a pair is tossed
for, and each takes the best item of its order that is not in the slate yet. Nor is a team credited for what it adds
after the other has no items left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST", "NOBODY", "SECOND", "Interleaved", "credit", "interleave", "seed_of"]

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
        seed: of the tosses: the same seed gives the same slate, on every machine.

    Example:
        >>> interleave([1, 2, 3], [1, 3, 4], 3, seed=1).items.tolist()
        [1, 3, 2]
    """
    ours, theirs = dict.fromkeys(first), dict.fromkeys(second)
    fixed = {place: a for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a == b and place < size}
    taken = set(fixed.values())
    left = [iter([item for item in order if item not in taken]) for order in (ours, theirs)]
    heads = [next(order, None) for order in left]
    items: list[int] = []
    teams: list[int] = []
    tosses, turn = _tosses(seed, size), 0
    while len(items) < size:
        if (kept := fixed.get(len(items))) is not None:
            items.append(kept)
            teams.append(NOBODY)
            continue
        mover = tosses[turn // 2] ^ (turn & 1)
        turn += 1
        both = heads[FIRST] is not None and heads[SECOND] is not None
        mover = mover if heads[mover] is not None else 1 - mover
        chosen = heads[mover]
        if chosen is None:
            break
        items.append(chosen)
        teams.append(mover if both else NOBODY)
        taken.add(chosen)
        for team in (FIRST, SECOND):
            while heads[team] in taken:
                heads[team] = next(left[team], None)
    return Interleaved(np.array(items, np.int64), np.array(teams, np.int32))


def seed_of(salt: str, user: str, request_id: str) -> int:
    """What the tosses of a slate follow from: the experiment's salt, the user and the request.

    Example:
        >>> first = seed_of("margin-1", "17", "r")
        >>> first == seed_of("margin-1", "17", "r"), first == seed_of("margin-1", "1", "7r")
        (True, False)
    """
    said = b"\0".join(part.encode("utf-8", "surrogateescape") for part in (user, request_id))
    return int.from_bytes(hashlib.blake2b(said, digest_size=8, key=salt.encode()).digest(), "big")


def credit(teams: NDArray[np.int32], clicked: NDArray[np.bool_]) -> int:
    """Which order a reader preferred: 1 for the second, -1 for the first, 0 for neither.

    Args:
        teams: int32 [S].
        clicked: bool [S].
    """
    return int(np.sign((clicked & (teams == SECOND)).sum() - (clicked & (teams == FIRST)).sum()))


def _tosses(seed: int, number: int) -> list[int]:
    """A fair coin, tossed a number of times."""
    packed = hashlib.shake_128(str(seed).encode()).digest(number // 8 + 1)
    return [(byte >> bit) & 1 for byte in packed for bit in range(8)]
