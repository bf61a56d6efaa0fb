"""Slates drawn slot by slot by a softmax without replacement (Plackett and Luce), enumerated or summed up exactly."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from models.ope.slates import Floats

__all__ = ["enumerate_slates", "next_log_probabilities", "position_probabilities", "slate_log_probabilities"]

# Trapezoids over the log of time; the integrand falls off faster than exponentially to both sides.
STEP = 0.125
TAIL = 42.0  # e^-42 is below a float64 beside 1
CHUNK_CELLS = 4_000_000


def next_log_probabilities(utilities: Floats, places: NDArray[np.int64]) -> Floats:
    """Log probability of every item at every slot, after the logged items in the slots before.

    Args:
        utilities: float64 [N, C], divided by the temperature; -inf: not a candidate.
        places: int64 [N, S], which of the C is logged at each slot; -1: none of them.

    Returns:
        float64 [N, S, C]; -inf for what is shown already, and everywhere once nothing is left.
    """
    num, size = places.shape
    left = utilities.astype(np.float64, copy=True)
    rows = np.arange(num)
    found = np.empty((num, size, utilities.shape[1]))
    for slot in range(size):
        highest = left.max(axis=1, keepdims=True)
        shifted = left - np.where(np.isfinite(highest), highest, 0.0)
        totals = np.exp(shifted).sum(axis=1, keepdims=True)
        found[:, slot] = shifted - np.log(np.maximum(totals, 1.0))  # 0 where nothing is left, else 1 or more
        known = places[:, slot] >= 0
        left[rows[known], places[known, slot]] = -np.inf
    return found


def slate_log_probabilities(utilities: Floats, places: NDArray[np.int64]) -> Floats:
    """Log probability of the logged item at every slot, float64 [N, S]; see `next_log_probabilities`."""
    following = next_log_probabilities(utilities, places)
    found = np.take_along_axis(following, np.maximum(places, 0)[:, :, None], axis=2)[:, :, 0]
    return np.where(places >= 0, found, -np.inf)


def enumerate_slates(num_items: int, size: int) -> NDArray[np.int64]:
    """Every ordered slate of distinct items, int64 [n! / (n - S)!, S]."""
    return np.array(list(permutations(range(num_items), size)), np.int64).reshape(-1, size)


def position_probabilities(utilities: Floats, places: NDArray[np.int64]) -> Floats:
    """Probability of each logged item at its position, whatever the other slots hold.

    Items that arrive after exponential times of rate e^utility come in the order of the softmax (Yellott, Journal of
    Mathematical Psychology 15(2), 1977), so an item is at position k if k - 1 of the others arrive before it: an
    integral over its arrival time of the chance that exactly k - 1 of independent events have happened.

    Args:
        utilities: float64 [N, C], divided by the temperature; -inf: not a candidate.
        places: int64 [N, S], which of the C; -1: none of them.

    Returns:
        float64 [N, S], within 1e-9; 0 where the item is no candidate.
    """
    num, size = places.shape
    spread = utilities.max(axis=1) - np.where(np.isfinite(utilities), utilities, np.inf).min(axis=1)
    steps = int(np.ceil((2 * TAIL + float(spread.max())) / STEP))
    chunk = max(1, CHUNK_CELLS // (steps * size))
    parts = [slice(start, start + chunk) for start in range(0, num, chunk)]
    return np.concatenate([_positions(utilities[part], places[part]) for part in parts])


def _positions(utilities: Floats, places: NDArray[np.int64]) -> Floats:
    num, size = places.shape
    rates = utilities - utilities.max(axis=1, keepdims=True)
    lowest = np.where(np.isfinite(rates), rates, 0.0).min()
    log_times = np.arange(-TAIL, TAIL / 8 - lowest, STEP)  # by then the slowest item has come
    times = np.exp(log_times)
    found = np.zeros((num, size))
    for slot in range(size):
        own = np.maximum(places[:, slot], 0)
        rate = np.take_along_axis(np.exp(rates), own[:, None], axis=1)
        counts = _counts(rates, own, times, slot)
        density = rate * times * np.exp(-rate * times)
        found[:, slot] = STEP * (density * counts).sum(axis=1)
    return np.where(places >= 0, found, 0.0)


def _counts(rates: Floats, own: NDArray[np.int64], times: Floats, wanted: int) -> Floats:
    """Probability that exactly `wanted` of the items but the own one have arrived by each time, float64 [N, T]."""
    state = np.zeros((wanted + 1, len(rates), len(times)))
    state[0] = 1.0
    for item in range(rates.shape[1]):
        arrived = -np.expm1(-np.exp(rates[:, item, None]) * times)
        arrived[own == item] = 0.0
        for count in range(wanted, 0, -1):
            state[count] += arrived * (state[count - 1] - state[count])
        state[0] -= arrived * state[0]
    result: Floats = state[wanted]
    return result
