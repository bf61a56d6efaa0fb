"""The events of a folder EVENTS as they come, for a reader that looks again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runtime.stream.log.frame import decode
from runtime.stream.log.reader import Batch
from runtime.stream.log.segments import Segment, frames_in, list_segments
from workflows.stream.history import read_events

__all__ = ["Follower"]


class Place(NamedTuple):
    """Where a reader is: behind which byte of which file; one that was written anew is another."""

    file: tuple[int, int]
    byte: int


class Follower:
    """Reads what is new; a look where nothing is costs the next bytes of one file, however long the log is.

    Args:
        folder: EVENTS.
        offset: of the first event that is wanted.

    Attributes:
        offset: of the next event; all before it were given out.
    """

    def __init__(self, folder: Path, offset: int) -> None:
        self._folder, self.offset = folder, offset
        self._place: Place | None = None

    def read(self) -> Iterator[Batch]:
        """The events that have come since the last call.

        Raises:
            LogError: the log is damaged or cannot be read.
            DataError: events are neither in the log nor in Parquet.
        """
        segments = list_segments(self._folder)
        last = segments[-1] if segments else None
        if last is None or self._place is None or self._place.file != _file(last):
            # At the start and behind each file of the log: from the file's beginning, or from Parquet.
            for batch in read_events(self._folder, self.offset):
                self.offset = batch.next_offset
                yield batch
            self._place = None if last is None else self._find(last)
            return
        for raw in frames_in(last, self._place.byte, self.offset):
            if raw.header.is_seal:
                return
            batch = Batch.join([decode(raw.header, raw.body)])
            self._place, self.offset = Place(self._place.file, raw.end), batch.next_offset
            yield batch

    def _find(self, segment: Segment) -> Place | None:
        """The place behind the events that were given out; None where it is in another file by now."""
        file = _file(segment)
        if self.offset == segment.first_offset:
            return Place(file, 0)
        for raw in frames_in(segment, 0, segment.first_offset):
            if raw.header.next_offset == self.offset and not raw.header.is_seal:
                return Place(file, raw.end)
        return None


def _file(segment: Segment) -> tuple[int, int]:
    return segment.first_offset, segment.path.stat().st_ino
