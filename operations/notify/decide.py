"""Each candidate is sent or held: by hard rules, then by the gate's advantage and the price, now and then by a coin."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operations.notify.pace import Allowance
from runtime.explore import mixed, uniform

__all__ = ["REASONS", "Decided", "coins", "decide", "within_room"]

Floats = NDArray[np.float64]
# Why a candidate is sent or held; all but the last four are hard rules, whose decisions have probability 0.
REASONS = ("opted_out", "quiet_hours", "cap", "budget", "worth", "not_worth", "price", "explored")
WHICH, EXPLORES = 1, 2


class Decided(NamedTuple):
    """What was decided of N candidates.

    Attributes:
        sent: bool [N].
        propensity: float64 [N], with which each was to be sent.
        reason: str [N], of REASONS.
    """

    sent: NDArray[np.bool_]
    propensity: Floats
    reason: NDArray


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


def coins(ids: NDArray) -> NDArray[np.uint64]:
    """A number of each decision_id that is as good as drawn, uint64 [N]: whoever decides again decides the same."""
    digests = b"".join(hashlib.blake2b(str(one).encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


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
        held, free = np.where(free, "budget", held), np.zeros(len(held), bool)
    coin, keys = allowed.coin(int(free.sum())), coins(ids)
    worth = advantage > price
    explored = uniform(mixed(keys, EXPLORES)) < explore
    propensity = np.where(free, explore * coin + (1.0 - explore) * worth, 0.0)
    sent = free & np.where(explored, uniform(mixed(keys, WHICH)) < coin, worth)
    greedy = np.where(worth, "worth", np.where(advantage > 0, "price", "not_worth"))
    return Decided(sent, propensity, np.where(free, np.where(explored, "explored", greedy), held))
