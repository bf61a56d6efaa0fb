"""Slates that follow rules as wholes, ordered or drawn.

The same rules serve the ordered slate (`SlateRuler.ordered`) and the drawn one (`runtime.explore.sample`): in both each
place sees what the places before it show. A slate is followed by itself: of two hundred candidates a handful of calls
of NumPy a place costs as little in a batch as alone, and a user of a batch gets what he gets alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.explore import NO_PLACE
from runtime.slate_rules import SlateRules
from runtime.slate_spec import SlateSpec
from runtime.step import load_array
from runtime.stream.live import now_ns

__all__ = ["BatchRules", "SlateRuler", "greedy"]


class SlateRuler:
    """Orders the slates of a chain by its rules, and gives the rules to what draws them.

    Args:
        spec: what slates must look like.
        files: arrays of the items [N], of the names that the spec gives them.
    """

    def __init__(self, spec: SlateSpec, files: Mapping[str, NDArray]) -> None:
        self.spec, self._files = spec, files
        self._end = min(spec.ends, default=0)
        # What follows the rules that are left from then on.
        self._next = SlateRuler(spec.at(self._end), files) if self._end else None

    @classmethod
    def open(cls, spec: SlateSpec, folder: Path) -> SlateRuler:
        """Open the files in a compiled chain."""
        return cls(spec, {name: load_array(folder / name) for name in spec.files})

    def now(self) -> SlateRuler:
        """That of the rules that have not ended at the instant that the slate is for."""
        ruler = self
        if ruler._next is not None:
            instant = now_ns()
            while ruler._next is not None and ruler._end <= instant:
                ruler = ruler._next
        return ruler

    def boosted(self, utilities: NDArray[np.float32], rows: NDArray) -> NDArray[np.float32]:
        """The utilities of some items [B, C] with what is added to them; padding is any."""
        for boost in self.spec.boosts:
            utilities = utilities + self._files[boost.file][rows]
        return utilities

    def rules(self, rows: NDArray, wanted: NDArray, history: NDArray | None = None) -> BatchRules:
        """The rules of one batch.

        Args:
            rows: candidates int32 [B, C]; -1: padding.
            wanted: int [B], places of each slate.
            history: int32 [B, L], what the users took; see `SlateRules`.
        """
        slates = zip(rows, wanted.tolist(), _each(history, len(rows)), strict=True)
        return BatchRules([SlateRules(self.spec, self._files, *slate) for slate in slates], rows.shape[1])

    def ordered(
        self, utilities: NDArray, rows: NDArray, wanted: NDArray, history: NDArray | None = None
    ) -> NDArray[np.int64]:
        """The slates that take the best candidate at each place, ties by row.

        Args:
            utilities: [B, C]; -inf: never shown.
            rows: candidates int32 [B, C]; -1: padding.
            wanted: int [B], places of each slate.
            history: see `rules`.

        Returns:
            int64 [B, S], places in the candidates; NO_PLACE behind the last of a slate.
        """
        best = np.full((len(rows), min(int(wanted.max()), rows.shape[1])), NO_PLACE, np.int64)
        for user, (places, taken) in enumerate(zip(wanted.tolist(), _each(history, len(rows)), strict=True)):
            by_row = rows[user].argsort()  # the first of those that tie is then the one to take
            rules = SlateRules(self.spec, self._files, rows[user][by_row], places, taken)
            found = greedy(utilities[user][by_row], rules, places)
            best[user, : len(found)] = by_row[found]
        return best


class BatchRules:
    """The rules of a batch of slates; see `runtime.explore.Rules`.

    Args:
        slates: the rules of each.
        num_candidates: C.
    """

    def __init__(self, slates: Sequence[SlateRules], num_candidates: int) -> None:
        self._slates, self._shape = slates, (len(slates), num_candidates)

    def penalties(self) -> NDArray[np.float64]:
        """float64 [B, C]; inf for what the place may not show."""
        found = np.empty(self._shape)
        for slate, own in zip(self._slates, found, strict=True):
            own[:] = slate.penalties()
        return found

    def take(self, places: NDArray[np.int64]) -> None:
        """The next place shows the candidates at `places`, [B]; NO_PLACE where it shows none."""
        for slate, place in zip(self._slates, places.tolist(), strict=True):
            slate.take(place)


def _each(history: NDArray | None, count: int) -> Sequence[NDArray | None]:
    """That of each user."""
    return [None] * count if history is None else list(history)


def greedy(utilities: NDArray, rules: SlateRules, size: int) -> list[int]:
    """The slate that takes the best candidate at each place; of those that tie, the first.

    Args:
        utilities: [C]; -inf: never shown.
        rules: of this slate, new.
        size: places.

    Returns:
        Places in the candidates; fewer than `size` where nothing more can be shown.
    """
    free, found = np.array(utilities, np.float64), []
    values = np.empty_like(free)
    for _ in range(size):
        np.subtract(free, rules.penalties(), out=values)
        place = int(values.argmax())
        if values[place] == -np.inf:
            break
        found.append(place)
        free[place] = -np.inf
        rules.take(place)
    return found
