"""Slates drawn at random with known probabilities: sequential softmax over what may still be shown.

Slot k takes candidate j with p ~ exp((utility_j - penalty_j(slots before)) / temperature). Nothing re-orders a slate
after it is drawn, so the probability of each slot given the slots before it is exact, whatever rules are on. Noise is
a hash of seed and item, no generator's: it is the same on every release of NumPy, in every batch and in whatever order
the candidates come.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_PLACE", "Draw", "Rules", "log_propensities", "mixed", "sample", "uniform"]

# The place of a slot that holds nothing.
NO_PLACE = -1
# What a slot of which nothing may be shown is measured against: less than any utility.
LOWEST = -np.finfo(np.float64).max
# The finaliser of splitmix64 (Steele, Lea, Flood 2014): increments and multipliers that pass its tests of randomness.
GOLDEN, FIRST, SECOND = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_12 = (np.uint64(x) for x in (30, 27, 31, 12))


class Rules(Protocol):
    """What the slots before do to the candidates of a batch of slates; `runtime.rerank` holds those of a chain.

    An object serves one batch once: it remembers what it was told to take.
    """

    def penalties(self) -> NDArray[np.float64]:
        """[B, C], what is taken from each utility in the next slot; inf: the candidate may not be shown there.

        A pin leaves one candidate, whose probability is then 1.
        """

    def take(self, places: NDArray[np.int64]) -> None:
        """The next slot shows the candidates at `places`, [B]; NO_PLACE where it shows none."""


class Draw(NamedTuple):
    """Slates.

    Attributes:
        places: int64 [B, S], positions in the candidates [C]; NO_PLACE behind the last that could be shown.
        log_propensity: float64 [B, S], natural logarithm, of each slot given the slots before it; 0 at NO_PLACE.
    """

    places: NDArray[np.int64]
    log_propensity: NDArray[np.float64]


def sample(
    utilities: NDArray,
    size: int,
    temperature: float,
    seeds: NDArray,
    rows: NDArray | None = None,
    rules: Rules | None = None,
) -> Draw:
    """Draw one slate a user.

    Args:
        utilities: [B, C] floats; -inf: never shown.
        size: S, slots of a slate; a slate ends earlier where nothing may be shown any more.
        temperature: above 0; the lower, the closer to the descending order.
        seeds: int64 [B]; equal seeds, utilities and rows give equal slates.
        rows: int64 [B, C], what noise an item gets; its position by default.
        rules: of this batch, new; None: what is shown depends on nothing but the utilities.

    Raises:
        ValueError: a utility is NaN or inf, or the temperature is not a number above 0.
    """
    scaled = _scaled(utilities, temperature)
    if scaled.ndim != 2:
        raise ValueError(f"utilities have {scaled.ndim} axes; expected [users, candidates]")
    rows = np.broadcast_to(np.arange(scaled.shape[1]), scaled.shape) if rows is None else rows
    size = min(size, scaled.shape[1])
    if rules is None:
        places = _first(scaled, _gumbel(seeds[:, None], 0, rows), size)
        return Draw(places, _of_slates(scaled, places))
    places = np.full((len(scaled), size), NO_PLACE, np.int64)
    # New noise for each slot: what a slot refused must not weigh on the next.
    noise = _gumbel(seeds[:, None, None], np.arange(size)[:, None], rows[:, None])
    return Draw(places, _walk(scaled, rules, temperature, places, noise))


def log_propensities(
    utilities: NDArray, places: NDArray, temperature: float, rules: Rules | None = None
) -> NDArray[np.float64]:
    """The logarithm of the probability of each slot of given slates, given the slots before it.

    Args:
        utilities: [C] of one slate or [B, C] of several; -inf: never shown.
        places: int [S] or [B, S], positions in the candidates; NO_PLACE behind the last.
        temperature: above 0.
        rules: of these slates, new.

    Returns:
        float64, of the shape of `places`; 0 at NO_PLACE, -inf where the slot could not hold what it holds.

    Raises:
        ValueError: a utility is NaN or inf, the temperature is not above 0, or `places` are no slates.
    """
    scaled, slates = np.atleast_2d(_scaled(utilities, temperature)), np.atleast_2d(places).astype(np.int64)
    _check(slates, *scaled.shape)
    if rules is None:
        return _of_slates(scaled, slates).reshape(np.shape(places))
    return _walk(scaled, rules, temperature, slates, None).reshape(np.shape(places))


def uniform(keys: NDArray) -> NDArray[np.float64]:
    """Hashes as numbers within (0, 1), neither end included."""
    return ((keys >> SHIFT_12).astype(np.float64) + 0.5) * 2.0**-52


def mixed(seeds: NDArray, values: NDArray | int) -> NDArray[np.uint64]:
    """A hash of each pair, uint64, of the shape that the two broadcast to: integers in, of whatever sign."""
    keys = _finalised(np.asarray(seeds).astype(np.uint64))
    return _finalised(keys + np.asarray(values).astype(np.uint64))


def _finalised(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes of integers: splitmix64."""
    with np.errstate(over="ignore"):  # modulo 2**64 is meant
        keys = keys + GOLDEN
        keys = (keys ^ (keys >> SHIFT_30)) * FIRST
        keys = (keys ^ (keys >> SHIFT_27)) * SECOND
    return keys ^ (keys >> SHIFT_31)


def _gumbel(seeds: NDArray, slot: NDArray | int, rows: NDArray) -> NDArray[np.float64]:
    """Standard Gumbel noise of each item, of the shape that seeds and rows broadcast to."""
    noise: NDArray[np.float64] = -np.log(-np.log(uniform(mixed(mixed(seeds, slot), rows))))
    return noise


def _scaled(utilities: NDArray, temperature: float) -> NDArray[np.float64]:
    """Utilities / temperature, float64, below their largest: equal differences stay equal at whatever size."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is {temperature}; expected a number above 0")
    values = np.asarray(utilities, np.float64)
    bad = np.isnan(values) | (values == np.inf)
    if bad.any():
        place = tuple(int(x) for x in np.argwhere(bad)[0])
        raise ValueError(
            f"utilities{list(place)} is {values[place]}; expected numbers, or -inf for what is never shown"
        )
    top = values.max(axis=-1, keepdims=True, initial=-np.inf)
    scaled: NDArray[np.float64] = (values - np.where(np.isneginf(top), 0, top)) / temperature
    if (np.isneginf(scaled) & ~np.isneginf(values)).any():
        raise ValueError(f"the utilities differ by more than a float64 holds at temperature {temperature}; raise it")
    return scaled


def _first(scaled: NDArray, noise: NDArray, size: int) -> NDArray[np.int64]:
    """Places of the largest sums, [B, S], descending.

    Where a sum is so large that it rounds the noise away, the noise decides between equals, as it should.
    """
    keys = scaled + noise
    order: NDArray[np.int64] = np.lexsort((-noise, -keys), axis=-1)[:, :size]
    return np.where(np.isneginf(np.take_along_axis(scaled, order, 1)), NO_PLACE, order)


def _of_slates(scaled: NDArray, slates: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log probabilities [B, S] where the slots before only take candidates away.

    What is left for a slot is summed from the last slot on: subtracting the slots before from the sum of all would
    cancel as soon as one candidate outweighs the rest.
    """
    empty = slates == NO_PLACE
    chosen = np.where(empty, -np.inf, np.take_along_axis(scaled, np.where(empty, 0, slates), 1))
    left = scaled.copy()
    users, slots = np.nonzero(~empty)
    left[users, slates[users, slots]] = -np.inf
    rest = np.logaddexp.reduce(left, axis=1, initial=-np.inf)[:, None]
    totals = np.logaddexp.accumulate(np.concatenate((rest, chosen[:, ::-1]), 1), axis=1)[:, :0:-1]
    possible = ~np.isneginf(chosen)
    logs: NDArray[np.float64] = np.where(empty, 0.0, -np.inf)
    np.subtract(chosen, totals, out=logs, where=possible)
    return logs


def _walk(
    scaled: NDArray,
    rules: Rules,
    temperature: float,
    slates: NDArray[np.int64],
    noise: NDArray | None,
) -> NDArray[np.float64]:
    """Log probabilities [B, S] of slates, slot by slot.

    `noise` [B, S, C] fills the slates. Without it they are given.
    """
    free, users = scaled.copy(), np.arange(len(scaled))
    weights = np.empty((slates.shape[1], *scaled.shape))
    for slot, left in enumerate(weights):
        np.subtract(free, _penalties(rules) / temperature, out=left)
        top = left.max(axis=1, keepdims=True)
        left -= np.maximum(top, LOWEST)
        if noise is not None:
            slates[:, slot] = np.where(top[:, 0] == -np.inf, NO_PLACE, np.argmax(left + noise[:, slot], axis=1))
        places = slates[:, slot]
        # Behind the last of a slate there is nothing more to show, or nothing more is asked for.
        free[users, places] = -np.inf
        rules.take(places)
    shown = np.take_along_axis(weights, slates.T[:, :, None], axis=2)[:, :, 0].T
    # The largest weight is 0: nothing overflows, and what was taken is not in the sum.
    sums = np.maximum(np.exp(weights, out=weights).sum(axis=2).T, 1)
    return np.where(slates == NO_PLACE, 0.0, shown - np.log(sums))


def _penalties(rules: Rules) -> NDArray[np.float64]:
    """Those of the next slot.

    Raises:
        ValueError: one is NaN or -inf.
    """
    penalties = rules.penalties()
    if not (penalties > -np.inf).all():
        raise ValueError("a rule's penalty is NaN or -inf; expected numbers, or inf for what may not be shown")
    return penalties


def _check(slates: NDArray[np.int64], users: int, candidates: int) -> None:
    """Raise ValueError if these are no slates of those candidates."""
    if len(slates) != users:
        raise ValueError(f"{len(slates)} slates for {users} rows of utilities; expected one each")
    outside = (slates < NO_PLACE) | (slates >= candidates)
    if outside.any():
        raise ValueError(f"place {slates[outside][0]} is outside the {candidates} candidates")
    ordered = np.sort(slates, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_PLACE)
    if twice.any():
        raise ValueError(f"slate {np.nonzero(twice.any(1))[0][0]} shows place {ordered[:, 1:][twice][0]} twice")
    if ((slates[:, :-1] == NO_PLACE) & (slates[:, 1:] != NO_PLACE)).any():
        raise ValueError("a slate has an empty slot before a full one")
