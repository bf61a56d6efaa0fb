"""Floors of exposure: what is added to the utilities of some items, so that they get their share of all slates' places.

A served chain remembers nothing of the slates before. So a share is reached on average: a price per floor, the same in
every slate, learnt on users who then are none of those that it is measured on. Reference: prices of a linear programme
over slates, found one at a time, each as low as its floor allows, until none moves (Bertsekas 1992, auctions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.export.sample import Sample

__all__ = ["Floored", "ShareFloor", "learnt_prices", "share_of"]

# Of the range of all utilities; a share moves by less than chance does between two of these.
STEPS, MAX_ROUNDS = 2**12, 30


class ShareFloor(NamedTuple):
    """A floor.

    Attributes:
        items: bool [N], which items it is for.
        share: of the places that they get at least.
        top: of the first so many places; 0: of all.
    """

    items: NDArray[np.bool_]
    share: float
    top: int


class Floored(NamedTuple):
    """Prices, and what they do to slates of users that they were not learnt on.

    Attributes:
        prices: what is added to the utility of each floor's items.
        learnt: share of each floor on the users that it was learnt on.
        before, after: share of each floor on the others, without prices and with them.
        loss: share of what their slates are worth that they lose.
        num_users: of the others.
    """

    prices: list[float]
    learnt: list[float]
    before: list[float]
    after: list[float]
    loss: float
    num_users: int


def learnt_prices(sample: Sample, floors: Sequence[ShareFloor]) -> Floored:
    """The lowest prices with which every floor gets its share, as far as candidates allow it.

    Args:
        sample: of the chain without the floors; every second user is learnt on.
        floors: at least one.
    """
    learners, others = sample.part(slice(0, None, 2)), sample.part(slice(1, None, 2))
    finite = sample.utilities[np.isfinite(sample.utilities)]
    step = float(np.ptp(finite)) * 1.01 / STEPS if len(finite) else 0.0
    counts = [0] * len(floors)
    for _ in range(MAX_ROUNDS):
        before = list(counts)
        for number, floor in enumerate(floors):
            counts[number] = _lowest(learners, floors, counts, number, floor.share, step)
        if counts == before:
            break
    prices = [count * step for count in counts]
    plain, priced = (_slates(others, floors, each) for each in ([0.0] * len(floors), prices))
    worth = others.total_worth(plain)
    return Floored(
        prices,
        [share_of(floor, learners.items(_slates(learners, floors, prices))) for floor in floors],
        [share_of(floor, others.items(plain)) for floor in floors],
        [share_of(floor, others.items(priced)) for floor in floors],
        1 - others.total_worth(priced) / worth if worth > 0 else 0.0,
        len(others.rows),
    )


def share_of(floor: ShareFloor, slates: NDArray[np.int32]) -> float:
    """The share of the places of slates of item rows [U, S] that a floor's items have; -1: no place."""
    counted = slates[:, : floor.top or None]
    shown = counted[counted >= 0]
    return float(floor.items[shown].mean()) if len(shown) else 0.0


def _lowest(
    sample: Sample, floors: Sequence[ShareFloor], counts: Sequence[int], number: int, share: float, step: float
) -> int:
    """The lowest price of one floor, in steps, not below the one that it has; the highest where none is enough."""
    low, high = counts[number], STEPS

    def is_enough(count: int) -> bool:
        prices = [step * (count if place == number else other) for place, other in enumerate(counts)]
        return share_of(floors[number], sample.items(_slates(sample, floors, prices))) >= share

    if is_enough(low):
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _slates(sample: Sample, floors: Sequence[ShareFloor], prices: Sequence[float]) -> NDArray[np.int64]:
    utilities = sample.utilities
    for floor, price in zip(floors, prices, strict=True):
        if price:
            # In float32, as the boost that the price becomes.
            utilities = utilities + floor.items[sample.rows] * np.float32(price)
    return sample._replace(utilities=utilities).slates(sample.spec, {})
