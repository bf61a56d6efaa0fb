"""The log as any number of readers see it, in other processes too, while one writes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import Events
from runtime.stream.log.errors import CompactedError, LogError
from runtime.stream.log.frame import Frame, decode
from runtime.stream.log.segments import ID, LOG, Segment, bytes_to_cut, check_seal, damaged, frames_in, list_segments

__all__ = ["Batch", "first_offset", "log_id", "next_offset", "read_batches", "read_log"]


@dataclass(frozen=True)
class Batch:
    """Events of several frames.

    Attributes:
        events: n.
        offsets: int64 [n], ascending; with gaps where the events of forgotten users were.
        received_at: int64 [n], nanoseconds since 1970.
        next_offset: one more than the last offset that it stands for.
    """

    events: Events
    offsets: NDArray[np.int64]
    received_at: NDArray[np.int64]
    next_offset: int

    @classmethod
    def join(cls, frames: Sequence[Frame]) -> Batch:
        """Frames in order as one."""
        return cls(
            Events.join([frame.events for frame in frames]),
            np.concatenate([frame.offsets for frame in frames]),
            np.repeat([frame.received_at for frame in frames], [len(frame.events) for frame in frames]),
            frames[-1].next_offset,
        )

    def without(self, offsets: NDArray[np.int64]) -> Batch:
        """The same without the events of some offsets, which it still stands for."""
        gone = np.isin(self.offsets, offsets)
        if not gone.any():
            return self
        return Batch(self.events.take(~gone), self.offsets[~gone], self.received_at[~gone], self.next_offset)


def first_offset(folder: Path) -> int:
    """The offset from which a folder EVENTS has its log; 0 where it has none yet.

    Raises:
        LogError: it cannot be read.
    """
    segments = list_segments(folder)
    return segments[0].first_offset if segments else 0


def next_offset(folder: Path) -> int:
    """One more than the offset of the last event of a folder EVENTS; 0 where it has no log yet.

    Raises:
        LogError: it cannot be read.
    """
    segments = list_segments(folder)
    if not segments:
        return 0
    last = segments[-1]
    ends = [raw.header.next_offset for raw in frames_in(last, 0, last.first_offset)]
    return ends[-1] if ends else last.first_offset


def log_id(folder: Path) -> str:
    """What tells the log of a folder EVENTS from every other, whose offsets mean other events; "" without a log.

    Raises:
        LogError: it cannot be read.
    """
    try:
        return (folder / LOG / ID).read_text()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise LogError(f"{folder / LOG / ID} cannot be read ({error.strerror})") from error


def read_log(folder: Path, start: int = 0) -> Iterator[Frame]:
    """The frames of a folder EVENTS from an offset on, up to the last whole one.

    Args:
        folder: EVENTS; where it has no log there are no frames.
        start: the first offset; a frame that begins before it is cut.

    Raises:
        CompactedError: events from `start` on are no longer in the log.
        LogError: the log is damaged or cannot be read.
    """
    segments = list_segments(folder)
    if segments and start < segments[0].first_offset:
        raise CompactedError(
            f"the log in {folder} begins with event {segments[0].first_offset}, expected {start}: those before are in "
            f"Parquet, and `cascade stream rebuild {folder}` makes a state of all"
        )
    before = [segment for segment in segments if segment.first_offset <= start]
    segment: Segment | None = before[-1] if before else None
    while segment is not None:
        segment = yield from _read_segment(folder, segment, start)


def read_batches(folder: Path, start: int = 0, stop: int | None = None, size: int = 4096) -> Iterator[Batch]:
    """The events of a log in batches of at least `size`, but for the last one and where the type of the ids changes.

    Args:
        folder: EVENTS.
        start: the first offset.
        stop: the offset that is no longer read; None: the end of the log.
        size: of a batch, before it is given out.

    Raises:
        LogError: see `read_log`.
    """
    frames: list[Frame] = []
    count = 0
    for frame in read_log(folder, start):
        if stop is not None and frame.first_offset >= stop:
            break
        if frames and not _fit(frames[-1].events, frame.events):
            yield Batch.join(frames)
            frames, count = [], 0
        frames.append(frame if stop is None else frame.until(stop))
        count += len(frame.events)
        if count >= size:
            yield Batch.join(frames)
            frames, count = [], 0
    if frames:
        yield Batch.join(frames)


def _fit(before: Events, behind: Events) -> bool:
    """Whether the ids of both are of the same types."""
    return (before.user.dtype, before.item.dtype) == (behind.user.dtype, behind.item.dtype)


def _read_segment(folder: Path, segment: Segment, start: int) -> Generator[Frame, None, Segment | None]:
    """The frames of a segment; returns the next one, or None at the end of the log."""
    byte, offset, suspect = 0, segment.first_offset, -1
    # Looked up first: a segment that has one behind it is sealed.
    following = _behind(folder, segment)
    while following is None:
        for raw in frames_in(segment, byte, offset):
            if raw.header.is_seal:
                break
            byte, offset = raw.end, raw.header.next_offset
            if offset > start:
                yield decode(raw.header, raw.body).since(start)
        following = _behind(folder, segment)
        if following is None:
            try:
                bytes_to_cut(segment, byte)
            except LogError:
                # A frame that was being written a little while ago is whole when it is looked at again.
                if suspect == byte:
                    raise
                suspect = byte
                continue
            return None
    # From its beginning, because a sealed one may have been written anew, without the users who are forgotten.
    yield from _read_sealed(segment, following, max(start, offset))
    return following


def _read_sealed(segment: Segment, following: Segment, start: int) -> Iterator[Frame]:
    byte = 0
    for raw in frames_in(segment, byte, segment.first_offset):
        byte = raw.end
        if raw.header.is_seal:
            check_seal(segment, raw.header, following)
            return
        if raw.header.next_offset > start:
            yield decode(raw.header, raw.body).since(start)
    raise damaged(segment, byte)


def _behind(folder: Path, segment: Segment) -> Segment | None:
    """The segment behind this one; None behind the last."""
    later = [other for other in list_segments(folder) if other.first_offset > segment.first_offset]
    return later[0] if later else None
