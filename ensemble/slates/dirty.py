"""Which users' slates do not know their latest events: read from the log, behind what the slates know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ensemble.stream.folder import load_spec
from runtime.stream.events import FORGET, ITEM
from runtime.stream.keys import user_keys
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import Batch, next_offset
from workflows.core.errors import ArtefactError
from workflows.stream.follow import Follower
from workflows.stream.history import first_event

__all__ = ["Dirty"]

KINDS_WITHOUT_USER = (ITEM,)


class Dirty:
    """Users by key whose events came since an offset, the one that waits longest first.

    Args:
        events: the folder of live events.
        offset: from which its log is read, or from the first event that it still has.

    Raises:
        ArtefactError: the log cannot be read, or ends before that offset.
    """

    def __init__(self, events: Path, offset: int) -> None:
        self._log = Follower(events, _start(events, offset))
        # Of each user the first event that its slate lacks, and the offset that its slate must reach.
        self._waiting: dict[bytes, tuple[int, int]] = {}
        self.forgotten: dict[bytes, int] = {}
        self.is_text = load_spec(events).user_id_dtype == "BYTES"

    @property
    def offset(self) -> int:
        """All events below it are in slates, but for what was forgotten."""
        return min([self._log.offset, *(first for first, _ in self._waiting.values())])

    @property
    def num_behind(self) -> int:
        """Users whose slates lack an event."""
        return len(self._waiting)

    def read(self) -> None:
        """Read what the log has by now.

        Raises:
            ArtefactError, DataError: it cannot be read.
        """
        try:
            for batch in self._log.read():
                self._add(batch)
        except LogError as error:
            raise ArtefactError(str(error)) from error

    def waiting(self) -> Iterator[tuple[bytes, int]]:
        """Users and the offset that the slate of each must reach."""
        yield from [(user, needed) for user, (_, needed) in self._waiting.items()]

    def done(self, user: bytes, offset: int) -> None:
        """A user has a slate that knows the events below an offset."""
        if user in self._waiting and self._waiting[user][1] <= offset:
            del self._waiting[user]

    def _add(self, batch: Batch) -> None:
        rows = np.flatnonzero(~np.isin(batch.events.kind, KINDS_WITHOUT_USER))
        of_users = batch.events.take(rows)
        keys = user_keys(of_users.user)
        for key, kind, offset in zip(keys, of_users.kind.tolist(), batch.offsets[rows].tolist(), strict=True):
            if kind == FORGET:
                self._waiting.pop(key, None)
                self.forgotten[key] = offset
            else:
                first = self._waiting[key][0] if key in self._waiting else offset
                self._waiting[key] = first, offset + 1


def _start(events: Path, offset: int) -> int:
    try:
        first, end = first_event(events), next_offset(events)
    except LogError as error:
        raise ArtefactError(str(error)) from error
    if offset > max(end, first):
        raise ArtefactError(
            f"the slates know events up to {offset}, and the log in {events} ends at {end}: it is another log; give "
            "the one of their server with --events, or build them again"
        )
    return max(offset, first)
