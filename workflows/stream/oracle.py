"""What the live state must hold, from the events alone and without the fold: for audits and tests."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, KINDS
from runtime.stream.keys import item_keys, user_keys
from runtime.stream.log.reader import Batch
from runtime.stream.spec import StreamSpec
from runtime.stream.windows import ANY, IMPRESSIONS, Window, hop_ns

__all__ = ["Expected"]

SECOND_NS = 1_000_000_000


@dataclass
class OfUser:
    """What is known of a user, an event at a time.

    Attributes:
        identities: of the latest events, by arrival.
        interactions: (at, offset, item key) of all interactions.
        counted: (at, label) of the events that windows can count.
        first_at: the earliest instant of its events.
        latest: the latest instant of all; 0 before the first.
    """

    identities: deque = field(default_factory=deque)
    interactions: list = field(default_factory=list)
    counted: list = field(default_factory=list)
    first_at: int = 2**63 - 1
    latest: int = 0


class Expected:
    """The state of all events that it is told, kept as plain lists.

    Args:
        spec: of the stream.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self.users: dict[bytes, OfUser] = {}
        self.items: dict[int, list] = defaultdict(list)
        self.stock: dict[int, tuple[int, int, bool]] = {}

    def tell(self, batch: Batch) -> None:
        """Take in the events of a batch."""
        events = batch.events
        columns = (
            *(events.kind.tolist(), user_keys(events.user), item_keys(events.item).tolist(), events.at.tolist()),
            *(events.label.tolist(), events.value.tolist(), events.event_id.tolist(), batch.offsets.tolist()),
        )
        for kind, user, item, at, label, value, event_id, offset in zip(*columns, strict=True):
            if kind == ITEM:
                if value == value:  # not NaN: the event says something
                    said = (at, offset, value > 0)
                    self.stock[item] = max(self.stock.get(item, said), said)
            elif kind == FORGET:
                self.users[user] = OfUser()
            else:
                self._tell(kind, user, item, at, events.labels[label], value, event_id, offset)

    def _tell(
        self, kind: int, user: bytes, item: int, at: int, label: str, value: float, event_id: bytes, offset: int
    ) -> None:
        of_user = self.users.setdefault(user, OfUser())
        identity = event_id or (KINDS[kind], label, item, at)
        if identity in of_user.identities:
            return
        of_user.identities.append(identity)
        of_user.first_at = min(of_user.first_at, at)
        if len(of_user.identities) > self._spec.dedupe_last:
            of_user.identities.popleft()
        of_user.latest = max(of_user.latest, at)
        if kind == INTERACTION and label in self._spec.labels and value > 0:
            of_user.interactions.append((at, offset, item))
        if kind == IMPRESSION or value > 0:
            said = IMPRESSIONS if kind == IMPRESSION else label
            of_user.counted.append((at, said))
            self.items[item].append((at, said))

    def history(self, user: bytes) -> list[tuple[int, int, int]]:
        """(at, offset, item key) of the latest H interactions, oldest first."""
        return sorted(self._of(user).interactions)[-self._spec.history_length :]

    def seen(self, user: bytes) -> list[int]:
        """Items whose interactions left the history, ascending."""
        return sorted({item for _, _, item in sorted(self._of(user).interactions)[: -self._spec.history_length]})

    def since(self, user: bytes, label: str) -> int:
        """The latest instant of an event of a user; 0 none."""
        return max((at for at, said in self._of(user).counted if label in (ANY, said)), default=0)

    def latest(self, user: bytes) -> int:
        """The latest instant of any event of a user; 0 none."""
        return self._of(user).latest

    def of_user(self, user: bytes, t: int, windows: tuple[Window, ...] | None = None) -> list[int]:
        """The count of each window of a user at t; None: those of the stream."""
        return list(_counts(self._of(user).counted, self._spec.user_windows if windows is None else windows, t))

    def of_item(self, item: int, t: int, windows: tuple[Window, ...] | None = None) -> list[int]:
        """The count of each window of an item at t; None: those of the stream."""
        return list(_counts(self.items.get(item, []), self._spec.item_windows if windows is None else windows, t))

    def _of(self, user: bytes) -> OfUser:
        return self.users.get(user) or OfUser()


def _counts(counted: list, windows: tuple[Window, ...], t: int) -> Iterator[int]:
    at: NDArray[np.int64] = np.array([instant for instant, _ in counted], np.int64)
    for window in windows:
        hop = hop_ns(window)
        lower = (t - window.seconds * SECOND_NS) // hop * hop
        fits = np.array([window.label in (ANY, said) for _, said in counted], bool)
        yield int(np.count_nonzero(fits & (at >= lower)))
