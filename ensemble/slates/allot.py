"""Slates of all users that show no item more often than there are units of it, by warehouse.

Each limited item gets a price, as high as it must be for as many users to want it as may have it: a dual step is a step
of the price towards that (the subgradient of a linear programme over slates). Then each user in turn, in an order drawn
once, gets the best slate by utility less price of what is left; so whatever the prices are, no unit is promised twice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.export.sample import Sample
from ensemble.slates.limits import UNLIMITED

__all__ = ["Prices", "hand_out", "learnt_prices"]

NUM_STEPS = 60
Floats = NDArray[np.float32]


class Prices(NamedTuple):
    """What limited items cost.

    Attributes:
        prices: float32 [W + 1, N], taken from utilities; the last row is of users of no warehouse.
        free, first_come, priced: what the slates of the users that prices were learnt on are worth: without limits, by
            turns without prices, and with them.
    """

    prices: Floats
    free: float
    first_come: float
    priced: float


def learnt_prices(sample: Sample, warehouses: NDArray[np.int32], left: NDArray[np.int64], share: NDArray) -> Prices:
    """Prices by dual steps; none where turns alone do better.

    Args:
        sample: some of the users.
        warehouses: int32 [U], of these; W: none.
        left: int64 [W, N], slates that may show an item, of all users.
        share: float64 [W], of the users of a warehouse who are in the sample.
    """
    limited = left < UNLIMITED
    there = np.where(limited, left * share[:, None], 0.0)
    prices = np.zeros((len(left) + 1, left.shape[1]), np.float32)
    finite = sample.utilities[np.isfinite(sample.utilities)]
    first = float(np.std(finite)) / 2 if len(finite) else 0.0
    total, counted = np.zeros_like(prices), 0
    for number in range(NUM_STEPS):
        wanted = _wanted(sample, warehouses, prices, left.shape)
        over = np.clip((wanted - there) / np.maximum(there, 1.0), -1, 1) * limited
        prices[:-1] = np.maximum(prices[:-1] + first / (1 + number / 5) * over, 0)
        if number >= NUM_STEPS // 2:
            total, counted = total + prices, counted + 1
    prices = (total / counted).astype(np.float32)
    free = sample.total_worth(sample.slates(sample.spec, {}))
    whole = np.where(limited, np.ceil(there).astype(np.int64), UNLIMITED)
    none = np.zeros_like(prices)
    first_come, priced = (
        sample.total_worth(hand_out(sample, warehouses, each, whole.copy())) for each in (none, prices)
    )
    return Prices(prices if priced > first_come else none, free, first_come, priced)


def hand_out(
    sample: Sample, warehouses: NDArray[np.int32], prices: Floats, left: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Places in the candidates of the slates of users, one after the other, [U, S]; NO_PLACE: none.

    Args:
        sample: the users, in the order of their turns.
        warehouses: int32 [U]; W: none.
        prices: float32 [W + 1, N].
        left: int64 [W, N]; what is handed out is taken from it.
    """
    slates, limited_at_all = [], (left < UNLIMITED).any(axis=0)
    for user, (own, warehouse) in enumerate(zip(sample.rows, warehouses.tolist(), strict=True)):
        gone = limited_at_all[own] if warehouse == len(left) else left[warehouse, own] <= 0
        utilities = np.where(gone, -np.inf, sample.utilities[user] - prices[warehouse, own])
        one = sample.part(slice(user, user + 1))._replace(utilities=utilities[None].astype(np.float32))
        places = one.slates(one.spec, {})
        slates.append(places)
        if warehouse < len(left):
            shown = own[places[0][places[0] >= 0]]
            left[warehouse, shown] -= left[warehouse, shown] < UNLIMITED
    return np.concatenate(slates)


def _wanted(sample: Sample, warehouses: NDArray[np.int32], prices: Floats, shape: tuple[int, ...]) -> NDArray:
    """How many slates show each item at these prices, float64 [W, N]."""
    utilities = sample.utilities - prices[warehouses[:, None], sample.rows]
    priced = sample._replace(utilities=utilities)
    items = priced.items(priced.slates(sample.spec, {}))
    users, places = np.nonzero((items >= 0) & (warehouses < shape[0])[:, None])
    wanted = np.zeros(shape)
    np.add.at(wanted, (warehouses[users], items[users, places]), 1.0)
    return wanted
