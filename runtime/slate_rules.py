"""The rules of one slate, place by place: pins, caps, floors, and what diversity and calibration do to utilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.calibration import calibrated_of
from runtime.diversity import Similarity, similarity_of
from runtime.explore import NO_PLACE
from runtime.ids import NO_ITEM
from runtime.slate_spec import Cap, Floor, Pin, SlateSpec

__all__ = ["SlateRules"]


class SlateRules:
    """The rules of one slate, new for each.

    Args:
        spec: what it must look like.
        files: arrays of the items [N], by file.
        rows: candidates int32 [C]; -1: padding.
        wanted: places of the slate.
        history: int32 [L], what the user took, as codes of items; read where the spec calibrates.
    """

    def __init__(
        self,
        spec: SlateSpec,
        files: Mapping[str, NDArray],
        rows: NDArray,
        wanted: int,
        history: NDArray | None = None,
    ) -> None:
        self._slot, self._wanted = 0, wanted
        self._free: NDArray[np.bool_] = rows != NO_ITEM
        self._pins = _places_of(spec.pins, rows, wanted)
        self._caps = [_OpenCap(cap, files[cap.file][rows], self._pins) for cap in spec.caps]
        # Those that must be met first come first.
        floors = sorted(spec.floors, key=lambda floor: (floor.top or len(rows) + 1, floor.least, floor.file))
        self._floors = [_OpenFloor(floor, files[floor.file][rows] & self._free, wanted) for floor in floors]
        asked: list[Similarity | None] = [
            similarity_of(spec.diversity, files, rows, wanted),
            calibrated_of(spec.calibration, files, rows, history, wanted),
        ]
        self._losses = [loss for loss in asked if loss is not None]
        self._narrows = bool(self._pins or self._caps or self._floors)
        if self._narrows:
            self._reopen()

    def penalties(self) -> NDArray[np.float64]:
        """float64 [C]; inf for what the place may not show."""
        lost = self._lost()
        if not self._narrows:
            return np.zeros(len(self._free)) if lost is None else lost
        allowed = self._allowed()
        if allowed is self._open:
            return self._shut if lost is None else self._shut + lost
        return np.where(allowed, 0.0 if lost is None else lost, np.inf)

    def take(self, place: int) -> None:
        """The next place shows the candidate at `place`; NO_PLACE: none."""
        self._slot += 1
        if place == NO_PLACE:
            return
        if self._narrows:
            self._follow(place)
        if self._slot < self._wanted:
            for loss in self._losses:
                loss.take(place)

    def _lost(self) -> NDArray[np.float64] | None:
        """What utilities lose by the places so far, [C]; None: nothing."""
        if not self._losses:
            return None
        lost = self._losses[0].penalties
        return lost + self._losses[1].penalties if len(self._losses) > 1 else lost

    def _follow(self, place: int) -> None:
        """What caps and floors make of one more item."""
        self._free[place] = False
        self._close(place)
        for cap in self._caps:
            closed = cap.take(place)
            if closed is not None:
                self._close(closed)
        if any(cap.top == self._slot for cap in self._caps):
            self._reopen()
        for floor in self._floors:
            floor.take(place)

    def _allowed(self) -> NDArray[np.bool_]:
        """What the place may show: a pin comes before a cap, a cap before a floor; none leaves a place empty."""
        pinned = self._pins.get(self._slot)
        if pinned is not None and self._free[pinned]:
            only = np.zeros(len(self._free), bool)
            only[pinned] = True
            return only
        allowed = self._open if self._open.any() else self._given_way()
        return self._with_floors(allowed) if self._floors else allowed

    def _reopen(self) -> None:
        """Find what is free, is pinned to no later place and is not one too many for a cap."""
        self._open = self._free.copy()
        for also in self._bounds():
            self._open &= also
        self._shut = np.where(self._open, 0.0, np.inf)

    def _close(self, places: int | NDArray[np.bool_]) -> None:
        self._open[places], self._shut[places] = False, np.inf

    def _given_way(self) -> NDArray[np.bool_]:
        """Where nothing is open: each bound in its turn, as long as something is left."""
        allowed = self._free
        for also in self._bounds():
            allowed = _narrowed(allowed, also)
        return allowed

    def _bounds(self) -> Iterator[NDArray[np.bool_]]:
        """What each cap, and each pin to a later place, lets be shown."""
        for cap in self._caps:
            if cap.full is not None and not (cap.top and self._slot >= cap.top):
                yield ~cap.full
        for _, place in self._later():
            others = np.ones(len(self._free), bool)
            others[place] = False
            yield others

    def _later(self) -> list[tuple[int, int]]:
        """Pins of later places, slot and place, whose items are not shown yet."""
        pins = self._pins.items()
        return [(slot, place) for slot, place in pins if slot > self._slot and self._free[place]] if pins else []

    def _with_floors(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What floors leave: where all places that are left are needed for them, only what they need."""
        needed, kinds, later = 0, [], self._later()
        for floor in self._floors:
            left = floor.end - self._slot
            if left > 0 and (need := floor.need(later)):
                left -= sum(slot < floor.end for slot, _ in later) if later else 0
                needed += need
                kinds.append(floor.items)
                if needed >= left:
                    return _narrowed(allowed, np.logical_or.reduce(kinds))
        return allowed


class _OpenCap:
    """A cap over the candidates of a slate.

    The items that are pinned to its places count from the start, so that there is room for them.

    Attributes:
        top: see `Cap`.
        full: bool [C], items of values of which as many as may be are shown; None: of no value.
    """

    def __init__(self, cap: Cap, codes: NDArray, pins: Mapping[int, int]) -> None:
        self.top, self._most, self._codes = cap.top, cap.most, codes
        self._shown: dict[int, int] = {}
        self.full: NDArray[np.bool_] | None = None
        self._pinned = {place for slot, place in pins.items() if not cap.top or slot < cap.top}
        for place in self._pinned:
            self._count(int(codes[place]))

    def take(self, place: int) -> NDArray[np.bool_] | None:
        """Items that are one too many from now on, bool [C]; None: no others than before."""
        return None if place in self._pinned else self._count(int(self._codes[place]))

    def _count(self, code: int) -> NDArray[np.bool_] | None:
        if code < 0:
            return None
        self._shown[code] = count = self._shown.get(code, 0) + 1
        if count != self._most:
            return None
        closed: NDArray[np.bool_] = self._codes == code
        self.full = closed if self.full is None else self.full | closed
        return closed


class _OpenFloor:
    """A floor over the candidates of a slate.

    Attributes:
        items: bool [C], candidates that it counts.
        end: the place behind the last that counts.
    """

    def __init__(self, floor: Floor, items: NDArray[np.bool_], wanted: int) -> None:
        self.items, self._least, self._there = items, floor.least, int(np.count_nonzero(items))
        self.end = min(wanted, floor.top) if floor.top else wanted

    def need(self, later: Sequence[tuple[int, int]]) -> int:
        """How many are still to be found beside pins of later places, as far as there are any."""
        need = min(self._least, self._there)
        if not (need and later):
            return need
        return max(need - sum(bool(slot < self.end and self.items[place]) for slot, place in later), 0)

    def take(self, place: int) -> None:
        """One more is shown."""
        if self.items[place]:
            self._least, self._there = max(self._least - 1, 0), self._there - 1


def _places_of(pins: Sequence[Pin], rows: NDArray, wanted: int) -> dict[int, int]:
    """Slot, from 0 on, -> place of its item, of the pins that a slate can show, the first slot first."""
    found = {}
    for pin in sorted(pins, key=lambda pin: pin.slot):
        if pin.slot <= wanted and len(places := np.flatnonzero(rows == pin.row)):
            found[pin.slot - 1] = int(places[0])
    return found


def _narrowed(allowed: NDArray[np.bool_], also: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where both allow something, that; else what was allowed: a rule leaves no place empty."""
    both: NDArray[np.bool_] = allowed & also
    return both if both.any() else allowed
