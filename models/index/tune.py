"""The smallest search setting that reaches a target, in few measurements."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["smallest"]


def smallest(holds: Callable[[int], bool], most: int, *, at_least: int = 1, precision: int = 8) -> int | None:
    """Double a number until it holds, then halve the gap to the last that did not.

    Args:
        holds: whether a number is large enough; assumed to stay true from where it becomes true.
        most: the largest number to try.
        at_least: the smallest.
        precision: the gap is closed to an eighth (by default) of the number.

    Returns:
        A number that holds; None where even `most` does not.
    """
    low, high = at_least - 1, min(at_least, most)
    while not holds(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > max(1, high // precision):
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
