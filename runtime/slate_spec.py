"""What a chain asks of slates as wholes: the part of chain.json that `runtime.rerank` follows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOOSTS_FILE", "DPP", "MMR", "VECTORS_FILE", "Cap", "Diversity", "Floor", "Pin", "SlateSpec"]

MMR, DPP = "mmr", "dpp"
BOOSTS_FILE, VECTORS_FILE = "order/boosts.npy", "item_embeddings.npy"


@dataclass(frozen=True)
class Cap:
    """At most so many items of one value.

    Attributes:
        file: int32 [N], the code of each item's value; -1: it has none, and no cap.
        most: how many.
        top: among the first so many places; 0: in the whole slate.
    """

    file: str
    most: int
    top: int


@dataclass(frozen=True)
class Floor:
    """At least so many items of a kind.

    Attributes:
        file: bool [N], which items are of it.
        least: how many.
        top: among the first so many places; 0: in the whole slate.
    """

    file: str
    least: int
    top: int


@dataclass(frozen=True)
class Pin:
    """An item at a place of every slate that may show it.

    Attributes:
        row: of the item.
        slot: its place, from 1 on.
    """

    row: int
    slot: int


@dataclass(frozen=True)
class Diversity:
    """What an item loses by being like those that are shown.

    Attributes:
        kind: MMR: the largest cosine to one of them; DPP: minus the logarithm of what is new about it.
        weight: of that, in utility.
    """

    kind: str
    weight: float


@dataclass(frozen=True)
class SlateSpec:
    """What a slate must look like.

    Attributes:
        boosted: whether BOOSTS_FILE, float32 [N], is added to the utilities.
        caps, floors, pins: each is kept as long as the others and the candidates allow it: a pin comes before a cap, a
            cap before a floor, and none leaves a place empty.
        diversity: None: none is asked for.
    """

    boosted: bool = False
    caps: tuple[Cap, ...] = ()
    floors: tuple[Floor, ...] = ()
    pins: tuple[Pin, ...] = ()
    diversity: Diversity | None = None

    @property
    def is_stepwise(self) -> bool:
        """Whether what a place may show depends on the places before it."""
        return bool(self.caps or self.floors or self.pins or self.diversity)

    @property
    def files(self) -> tuple[str, ...]:
        """What it opens of the chain."""
        return (
            *([BOOSTS_FILE] if self.boosted else []),
            *(cap.file for cap in self.caps),
            *(floor.file for floor in self.floors),
            *([VECTORS_FILE] if self.diversity else []),
        )
