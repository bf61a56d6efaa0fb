"""What a chain asks of slates as wholes: the part of chain.json that `runtime.rerank` follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

__all__ = [
    "DPP",
    "MMR",
    "VECTORS_FILE",
    "Boost",
    "Calibration",
    "Cap",
    "Diversity",
    "Floor",
    "Pin",
    "SlateSpec",
    "leave_out_defaults",
]

MMR, DPP = "mmr", "dpp"
VECTORS_FILE = "item_embeddings.npy"


@dataclass(frozen=True)
class Boost:
    """What is added to the utilities of items.

    Attributes:
        file: float32 [N], how much.
        until: nanoseconds since 1970 at which it ends; 0: never.
    """

    file: str
    until: int = 0


@dataclass(frozen=True)
class Cap:
    """At most so many items of one value.

    Attributes:
        file: int32 [N], the code of each item's value; -1: it has none, and no cap.
        most: how many.
        top: among the first so many places; 0: in the whole slate.
        until: nanoseconds since 1970 at which it ends; 0: never.
    """

    file: str
    most: int
    top: int
    until: int = 0


@dataclass(frozen=True)
class Floor:
    """At least so many items of a kind.

    Attributes:
        file: bool [N], which items are of it.
        least: how many.
        top: among the first so many places; 0: in the whole slate.
        until: nanoseconds since 1970 at which it ends; 0: never.
    """

    file: str
    least: int
    top: int
    until: int = 0


@dataclass(frozen=True)
class Pin:
    """An item at a place of every slate that may show it.

    Attributes:
        row: of the item.
        slot: its place, from 1 on.
        until: nanoseconds since 1970 at which it ends; 0: never.
    """

    row: int
    slot: int
    until: int = 0


@dataclass(frozen=True)
class Diversity:
    """What an item loses by being like those that are shown.

    Attributes:
        kind: MMR: the largest likeness to one of them; DPP: minus the logarithm of what is new about it.
        weight: of that, in utility.
        file: what items are alike by: their vectors, float32 [N, D], or the codes of their values in some columns,
            int32 [N, M]; -1: it has none.
    """

    kind: str
    weight: float
    file: str = VECTORS_FILE


@dataclass(frozen=True)
class Calibration:
    """How close the values of a slate come to those of what its user took.

    Attributes:
        weight: of the divergence, in utility and for each place of a slate.
        file: int32 [N], the code of each item's value; -1: it has none.
        taken_file: int32 [K], the same by the code that an item has in a history; -1: no item, or one without a value.
    """

    weight: float
    file: str
    taken_file: str


@dataclass(frozen=True)
class SlateSpec:
    """What a slate must look like.

    Attributes:
        boosts: all are added to the utilities.
        caps, floors, pins: each is kept as long as the others and the candidates allow it: a pin comes before a cap, a
            cap before a floor, and none leaves a place empty.
        diversity: None: items may be as alike as they are.
        calibration: None: slates do not follow histories.
    """

    boosts: tuple[Boost, ...] = ()
    caps: tuple[Cap, ...] = ()
    floors: tuple[Floor, ...] = ()
    pins: tuple[Pin, ...] = ()
    diversity: Diversity | None = None
    calibration: Calibration | None = None

    @property
    def is_stepwise(self) -> bool:
        """Whether what a place may show depends on the places before it."""
        return bool(self.caps or self.floors or self.pins or self.diversity or self.calibration)

    @property
    def files(self) -> tuple[str, ...]:
        """What it opens of the chain."""
        return (
            *(boost.file for boost in self.boosts),
            *(cap.file for cap in self.caps),
            *(floor.file for floor in self.floors),
            *([self.diversity.file] if self.diversity else []),
            *([self.calibration.file, self.calibration.taken_file] if self.calibration else []),
        )

    @property
    def ends(self) -> tuple[int, ...]:
        """Instants at which some of it ends, ascending, nanoseconds since 1970."""
        rules: tuple[Boost | Cap | Floor | Pin, ...] = (*self.boosts, *self.caps, *self.floors, *self.pins)
        return tuple(sorted({rule.until for rule in rules} - {0}))

    def at(self, instant: int) -> SlateSpec:
        """What is left of it at an instant, nanoseconds since 1970."""
        return replace(
            self,
            boosts=_lasting(self.boosts, instant),
            caps=_lasting(self.caps, instant),
            floors=_lasting(self.floors, instant),
            pins=_lasting(self.pins, instant),
        )


def leave_out_defaults(record: dict[str, Any]) -> None:
    """Take from a record of a SlateSpec what earlier releases did not write and this chain does not use."""
    if record["calibration"] is None:
        del record["calibration"]
    if record["diversity"] is not None and record["diversity"]["file"] == VECTORS_FILE:
        del record["diversity"]["file"]


Rule = TypeVar("Rule", Boost, Cap, Floor, Pin)


def _lasting(rules: tuple[Rule, ...], instant: int) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if not rule.until or rule.until > instant)
