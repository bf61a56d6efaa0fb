"""Events on their way in: into the log, then into the state, then acknowledged. One process an EVENTS folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import Events
from runtime.stream.folder import make_folder, save_spec
from runtime.stream.log.errors import LogError
from runtime.stream.log.log import EventLog
from runtime.stream.poison import fold
from runtime.stream.recovery import catch_up, close_state, open_state
from runtime.stream.set_aside import SetAsideEvents
from runtime.stream.spec import StreamSpec

__all__ = ["Ingest"]


class Ingest:
    """The one writer of an EVENTS folder: its log, and its state, which knows every event of the log.

    Args:
        events: the EVENTS folder, created when absent.
        spec: of the stream.

    Raises:
        LogError: another process writes to the folder, or the log cannot be opened.
        FolderError: the folder cannot be made or written.
        StoreError: the state cannot be opened.

    Attributes:
        replayed: events that were in the log and not in the state when it was opened.
        set_aside: events of the log that could not be folded.
    """

    def __init__(self, events: Path, spec: StreamSpec) -> None:
        self._events, self._spec = events, spec
        self._log: EventLog | None = None
        make_folder(events)
        self.set_aside = SetAsideEvents(events)
        log = self._opened_log()
        try:
            save_spec(events, spec)
            self._store = open_state(events, spec, log.next_offset)
            self.replayed = catch_up(events, spec, self._store, set_aside=self.set_aside.keep)
        except BaseException:
            log.close()
            raise
        self._is_behind = False

    def accept(self, events: Events, received_at: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """Log events and fold them; when this returns they are on disk (but for ack = "memory") and in the state.

        After an error nothing is acknowledged. Events that reached the log all the same are folded before the next
        ones, so that a sender who repeats them with their event ids is told that they are known.

        Args:
            events: checked, in order of arrival; at least one.
            received_at: when they arrived, nanoseconds since 1970.

        Returns:
            Status int8 [n], 1 new, 0 known already, -1 set aside, since it cannot be folded; offsets int64 [n].

        Raises:
            LogError, StoreError: the disk is full or cannot be written.
        """
        log = self._opened_log()
        if self._is_behind:
            catch_up(self._events, self._spec, self._store, set_aside=self.set_aside.keep)
            self._is_behind = False
        try:
            first = log.append(events, received_at)
        except LogError:
            # A log that could not be written may take no more; opening it again finds its end anew.
            self._log, self._is_behind = None, True
            log.close()
            raise
        self._is_behind = True
        offsets = np.arange(first, first + len(events))
        status = fold(self._store, self._spec, events, offsets, first + len(events), self.set_aside.keep)
        self._is_behind = False
        return status, offsets

    def close(self) -> None:
        """Give the folder back.

        Raises:
            StoreError: the state cannot be synced; the next to open it finds out whether it is whole.
        """
        if self._log is not None:
            self._log.close()
        close_state(self._events, self._spec, self._store)

    def _opened_log(self) -> EventLog:
        if self._log is None:
            sync = self._spec.ack == "log"
            self._log = EventLog(self._events, sync=sync, segment_bytes=self._spec.segment_bytes)
        return self._log
