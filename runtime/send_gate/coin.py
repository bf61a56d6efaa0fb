"""Sent or held by the advantage and a price, now and then by a coin, with the probability that belongs to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.explore import mixed, uniform

__all__ = ["EXPLORED", "FAIR", "NOT_WORTH", "PRICE", "WORTH", "Decided", "coins", "decide"]

Floats = NDArray[np.float64]
FAIR = 0.5
WORTH, PRICE, NOT_WORTH, EXPLORED = "worth", "price", "not_worth", "explored"
WHICH, EXPLORES = 1, 2


class Decided(NamedTuple):
    """What was decided of N candidates.

    Attributes:
        sent: bool [N].
        propensity: float64 [N], with which each was to be sent.
        reason: str [N].
    """

    sent: NDArray[np.bool_]
    propensity: Floats
    reason: NDArray


def coins(ids: Iterable[str]) -> NDArray[np.uint64]:
    """A number of each decision_id that is as good as drawn, uint64 [N]: whoever decides again decides the same."""
    digests = b"".join(hashlib.blake2b(one.encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def decide(
    keys: NDArray[np.uint64],
    advantage: Floats,
    price: float | Floats,
    explore: float | Floats,
    coin: float = FAIR,
) -> Decided:
    """Decide on candidates that no rule holds.

    Args:
        keys: of `coins`.
        advantage: float64 [N].
        price: above which an advantage is worth a push; one for all, or [N].
        explore: share of the decisions that the coin makes; one for all, or [N].
        coin: with which probability it sends.
    """
    worth = advantage > price
    explored = uniform(mixed(keys, EXPLORES)) < explore
    greedy = np.where(worth, WORTH, np.where(advantage > 0, PRICE, NOT_WORTH))
    return Decided(
        np.where(explored, uniform(mixed(keys, WHICH)) < coin, worth),
        np.asarray(explore * coin + (1.0 - np.asarray(explore)) * worth, np.float64),
        np.where(explored, EXPLORED, greedy),
    )
