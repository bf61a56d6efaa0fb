"""Events as columns: what is checked, logged, folded and replayed, always many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORGET", "IMPRESSION", "INTERACTION", "ITEM", "KINDS", "Events"]

# Kinds by number: what a user did with an item; an item that was shown; an item's stock and fields; a user to forget.
KINDS = ("interaction", "impression", "item", "forget")
INTERACTION, IMPRESSION, ITEM, FORGET = range(len(KINDS))


@dataclass(frozen=True)
class Events:
    """Checked events, in order of arrival.

    Attributes:
        kind: uint8 [n], a place in KINDS.
        user: int64 [n], or objects of bytes (UTF-8); 0 or b"" where the kind has no user (ITEM).
        item: int64 [n], or objects of bytes (UTF-8); 0 or b"" where the kind has no item (FORGET).
        at: int64 [n], nanoseconds since 1970 in UTC.
        label: uint8 [n], a place in `labels`.
        value: float32 [n]; of an ITEM event 1 in stock, 0 out of stock, NaN not said.
        event_id: objects of bytes [n], from the client; b"" where it gave none.
        extra: objects of bytes [n], a JSON object of further fields; b"" where there are none.
        labels: the names that `label` points to; an event of a kind without a label points to "".
    """

    kind: NDArray[np.uint8]
    user: NDArray
    item: NDArray
    at: NDArray[np.int64]
    label: NDArray[np.uint8]
    value: NDArray[np.float32]
    event_id: NDArray[np.object_]
    extra: NDArray[np.object_]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: NDArray | slice) -> Events:
        """Some of the events."""
        return Events(**{name: getattr(self, name)[rows] for name in COLUMNS}, labels=self.labels)

    def has_label(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Whether the label of each event is one of these; bool [n]."""
        wanted: NDArray[np.bool_] = np.array([name in names for name in self.labels], bool)[self.label]
        return wanted

    @classmethod
    def join(cls, parts: Sequence[Events]) -> Events:
        """Several as one, in order."""
        if len(parts) == 1:
            return parts[0]
        labels = tuple(dict.fromkeys(name for part in parts for name in part.labels))
        renamed = [_places(part.labels, labels)[part.label] for part in parts]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
        return cls(**{**joined, "label": np.concatenate(renamed)}, labels=labels)


def _places(names: Sequence[str], among: Sequence[str]) -> NDArray[np.uint8]:
    """Where names are among others; a label that points to no name still points to none."""
    places = np.full(256, 255, np.uint8)
    places[: len(names)] = [among.index(name) for name in names]
    return places


COLUMNS = tuple(field.name for field in fields(Events) if field.name != "labels")
