"""What a recommendation request answers, typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

__all__ = ["Id", "Slate", "Slates"]

Id = int | str


class Slate(msgspec.Struct, frozen=True):
    """The slate of one user.

    Attributes:
        user_id: as it was asked.
        item_ids: raw item ids, descending score, ties by id.
        scores: of the items, in the same order: the ranker's probability of its label or, on the path "popularity",
            the item's popularity divided by the largest, which is not a probability.
        path: what the slate was made from: "known_user", "history", "context" or "popularity".
    """

    user_id: Id
    item_ids: list[Id]
    scores: list[float]
    path: str


class Slates(msgspec.Struct, frozen=True):
    """The slates of one request, in the order of its users."""

    slates: list[Slate]

    def __len__(self) -> int:
        return len(self.slates)

    def __iter__(self) -> Iterator[Slate]:  # type: ignore[override]
        return iter(self.slates)

    def __getitem__(self, position: int) -> Slate:
        return self.slates[position]

    def to_builtins(self) -> list[dict[str, Any]]:
        """A list with one dictionary a user."""
        return [msgspec.structs.asdict(slate) for slate in self.slates]

    def to_json(self) -> str:
        """A JSON list with one object a user."""
        return msgspec.json.format(msgspec.json.encode(self.slates), indent=2).decode()
