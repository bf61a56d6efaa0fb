"""Each candidate is sent or held: by hard rules, then by the gate's advantage and the price, now and then by a coin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operations.notify.pace import Allowance
from runtime.send_gate.coin import Decided, coins
from runtime.send_gate.coin import decide as decide_free

__all__ = ["BUDGET", "decide", "within_room"]

Floats = NDArray[np.float64]
BUDGET = "budget"


def within_room(users: NDArray, room: NDArray[np.int64], advantage: Floats, free: NDArray[np.bool_]) -> NDArray:
    """Whether the caps leave room for each candidate, bool [N]: of one user's, for those of the highest advantage.

    Args:
        users: [N].
        room: pushes that each one's user may still get, [N].
        advantage: [N].
        free: bool [N], candidates that no other rule holds; the others take no room.
    """
    order = np.lexsort((-advantage, users))
    order = order[free[order]]
    if not len(order):
        return np.zeros(len(users), bool)
    of = users[order]
    starts = np.flatnonzero(np.append(True, of[1:] != of[:-1]))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    found = np.zeros(len(users), bool)
    found[order] = rank < room[order]
    return found


def decide(ids: NDArray, advantage: Floats, held: NDArray, price: float, allowed: Allowance, explore: float) -> Decided:
    """Decide on candidates.

    Args:
        ids: decision_id, [N].
        advantage: float64 [N].
        held: str [N], the hard rule that holds it, "" for none.
        price: above which an advantage is worth a push.
        allowed: what the batch may spend.
        explore: share of the decisions that a coin makes.
    """
    free = held == ""
    if allowed.left == 0:
        held, free = np.where(free, BUDGET, held), np.zeros(len(held), bool)
    found = decide_free(coins(map(str, ids)), advantage, price, explore, allowed.coin(int(free.sum())))
    return Decided(free & found.sent, np.where(free, found.propensity, 0.0), np.where(free, found.reason, held))
