"""Slates as wholes, place by place: pins, caps, floors, and what diversity takes from an item's utility.

The same rules serve the ordered slate (`greedy`) and the drawn one (`runtime.explore.sample`): in both each place sees
what the places before it show.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.diversity import Similarity, similarity_of
from runtime.explore import NO_PLACE, Rules
from runtime.ids import NO_ITEM
from runtime.slate_spec import BOOSTS_FILE, Cap, Floor, SlateSpec
from runtime.step import load_array

__all__ = ["SlateRuler", "SlateRules", "greedy"]


class SlateRuler:
    """Gives the rules of batches.

    Args:
        spec: what slates must look like.
        folder: a compiled chain, with the files that the spec names.
    """

    def __init__(self, spec: SlateSpec, folder: Path) -> None:
        self.spec = spec
        self._files: Mapping[str, NDArray] = {name: load_array(folder / name) for name in spec.files}

    def boosts(self, rows: NDArray) -> NDArray[np.float32]:
        """What is added to the utilities of some items [B, C]; padding is any."""
        found: NDArray[np.float32] = self._files[BOOSTS_FILE][rows]
        return found

    def rules(self, rows: NDArray, wanted: NDArray) -> SlateRules:
        """The rules of one batch.

        Args:
            rows: candidates int32 [B, C]; -1: padding.
            wanted: int [B], places of each slate.
        """
        return SlateRules(self.spec, self._files, rows, wanted)


class SlateRules:
    """The rules of one batch of slates; see `runtime.explore.Rules`.

    Args:
        spec: what slates must look like.
        files: arrays of the items [N], by file.
        rows: candidates int32 [B, C]; -1: padding.
        wanted: int [B], places of each slate.
    """

    def __init__(self, spec: SlateSpec, files: Mapping[str, NDArray], rows: NDArray, wanted: NDArray) -> None:
        self._users, self._slot, self._wanted = np.arange(len(rows)), 0, np.asarray(wanted)
        self._free = rows != NO_ITEM
        self._caps = [_OpenCap(cap, files[cap.file][rows]) for cap in spec.caps]
        # Those that must be met first come first.
        floors = sorted(spec.floors, key=lambda floor: (floor.top or len(rows[0]) + 1, floor.least, floor.file))
        self._floors = [_OpenFloor(floor, files[floor.file][rows] & self._free, self._wanted) for floor in floors]
        self._pins = [(pin.slot - 1, rows == pin.row) for pin in spec.pins]
        self._similarity: Similarity | None = similarity_of(spec.diversity, files, rows)

    def penalties(self) -> NDArray[np.float64]:
        """float64 [B, C]; inf for what the place may not show."""
        if not (self._caps or self._floors or self._pins):
            return np.zeros(self._free.shape) if self._similarity is None else self._similarity.penalties
        allowed = self._free
        for cap in self._caps:
            allowed = _narrowed(allowed, cap.allowed(self._slot))
        later = [items for slot, items in self._pins if slot > self._slot]
        for slot, items in self._pins:
            if slot > self._slot:
                allowed = _narrowed(allowed, ~items | (slot >= self._wanted)[:, None])
        if self._floors:
            allowed = self._with_floors(allowed, bool(later))
        for slot, items in self._pins:
            if slot == self._slot:
                allowed = np.where((items & self._free).any(axis=1, keepdims=True), items & self._free, allowed)
        lost = 0.0 if self._similarity is None else self._similarity.penalties
        return np.where(allowed, lost, np.inf)

    def take(self, places: NDArray[np.int64]) -> None:
        """The next place shows the candidates at `places`, [B]."""
        users = self._users if (places >= 0).all() else np.flatnonzero(places >= 0)
        taken = places[users]
        for cap in self._caps:
            cap.take(users, taken)
        for floor in self._floors:
            floor.take(users, taken)
        self._free[users, taken] = False
        self._slot += 1
        if self._similarity is not None and self._slot < self._wanted.max():
            self._similarity.take(users, taken)

    def _with_floors(self, allowed: NDArray[np.bool_], has_later_pins: bool) -> NDArray[np.bool_]:
        """What floors leave: where all places that are left are needed for them, only what they need."""
        needed, due = np.zeros(len(allowed), np.int64), np.zeros_like(allowed)
        wanted_kinds = np.zeros_like(allowed)
        for floor in self._floors:
            need, left = floor.need(self._free), floor.left(self._slot)
            for slot, items in self._pins if has_later_pins else []:
                pinned = (items & self._free).any(axis=1) & (slot >= self._slot) & (slot < floor.end)
                left = left - pinned
                need = np.maximum(need - (pinned & (items & floor.items).any(axis=1)), 0)
            needed += np.where(left >= 0, need, 0)
            wanted_kinds = wanted_kinds | (floor.items & (need > 0)[:, None])
            is_due = (needed > 0) & (needed >= left) & (left > 0)
            due = np.where(is_due[:, None] & ~due.any(axis=1, keepdims=True), wanted_kinds, due)
        return _narrowed(allowed, due) if due.any() else allowed


class _OpenCap:
    """A cap over the candidates of a batch."""

    def __init__(self, cap: Cap, codes: NDArray) -> None:
        self._most, self._top, self._codes = cap.most, cap.top, codes
        self._shown = np.zeros(codes.shape, np.int32)
        self._full: NDArray[np.bool_] | None = None

    def allowed(self, slot: int) -> NDArray[np.bool_] | None:
        """Of its value too few are shown yet, bool [B, C]; None: of all."""
        return None if self._full is None or (self._top and slot >= self._top) else ~self._full

    def take(self, users: NDArray, places: NDArray) -> None:
        codes = self._codes[users]
        taken = codes[np.arange(len(users)), places][:, None]
        self._shown[users] += (codes == taken) & (taken >= 0)
        self._full = self._shown >= self._most


class _OpenFloor:
    """A floor over the candidates of a batch.

    Attributes:
        items: bool [B, C], candidates that it counts.
        end: int [B], the place behind the last that counts.
    """

    def __init__(self, floor: Floor, items: NDArray[np.bool_], wanted: NDArray) -> None:
        self.items, self._least = items, np.full(len(items), floor.least, np.int64)
        self.end = np.minimum(wanted, floor.top) if floor.top else wanted

    def need(self, free: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many are still to come, int64 [B], as far as there are any."""
        found: NDArray[np.int64] = np.minimum(self._least, np.count_nonzero(self.items & free, axis=1))
        return found

    def left(self, slot: int) -> NDArray:
        """Places that are left for them, [B]; 0 and less: the floor is past."""
        return self.end - slot

    def take(self, users: NDArray, places: NDArray) -> None:
        self._least[users] = np.maximum(self._least[users] - self.items[users, places], 0)


def _narrowed(allowed: NDArray[np.bool_], also: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Where both allow something, that; else what was allowed: a rule leaves no place empty."""
    if also is None:
        return allowed
    both = allowed & also
    some = both.any(axis=1, keepdims=True)
    return both if some.all() else np.where(some, both, allowed)


def greedy(utilities: NDArray, rows: NDArray, size: int, rules: Rules) -> NDArray[np.int64]:
    """The slates that take the best candidate at each place, ties by row.

    Args:
        utilities: [B, C]; -inf: never shown.
        rows: int [B, C], item rows.
        size: S.
        rules: of this batch, new.

    Returns:
        int64 [B, S], places in the candidates; NO_PLACE behind the last.
    """
    users, free = np.arange(len(utilities)), np.array(utilities, np.float64)
    best = np.full((len(free), size), NO_PLACE, np.int64)
    for slot in range(size):
        values = free - rules.penalties()
        top = values.max(axis=1, keepdims=True)
        places = _first_of_best(values == top, rows)
        best[:, slot] = np.where(top[:, 0] == -np.inf, NO_PLACE, places)
        free[users, places] = -np.inf
        rules.take(best[:, slot])
    return best


def _first_of_best(is_best: NDArray[np.bool_], rows: NDArray) -> NDArray[np.int64]:
    """The place of the lowest row among those that tie, [B]."""
    places: NDArray[np.int64] = is_best.argmax(axis=1)
    if np.count_nonzero(is_best) > len(is_best):
        places = np.where(is_best, rows, np.iinfo(np.int64).max).argmin(axis=1)
    return places
