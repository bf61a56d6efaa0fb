"""The last events of a log, read from its end: as fast with a billion events before them as with none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.stream.events import KINDS
from runtime.stream.log.errors import LogError
from runtime.stream.log.frame import FRAMING, Frame, decode, decode_header
from runtime.stream.log.segments import list_segments
from workflows.core.errors import ArtefactError

__all__ = ["Event", "Latest", "latest_events"]

# What is read of the end of a file at first, and how much of it at most.
TAIL_BYTES, MOST_BYTES = 1 << 18, 1 << 22


@dataclass(frozen=True)
class Event:
    """An event of the log.

    Attributes:
        offset: in the log.
        kind: one of `runtime.stream.events.KINDS`.
        user, item: raw ids as text; empty where the kind has none.
        label: of an interaction.
        value: as it was sent; NaN: not said.
        at, received_at: nanoseconds since 1970: when it happened, and when it came.
        extra: a JSON object of further fields; empty: none.
    """

    offset: int
    kind: str
    user: str
    item: str
    label: str
    value: float
    at: int
    received_at: int
    extra: str


@dataclass(frozen=True)
class Latest:
    """The end of a log.

    Attributes:
        next_offset: one more than the offset of its last event.
        events: the last ones, the latest first.
        num_looked_at: that were looked at for them.
    """

    next_offset: int
    events: list[Event]
    num_looked_at: int


def latest_events(folder: Path, count: int, user: str = "") -> Latest:
    """The last events of a folder EVENTS.

    Args:
        folder: EVENTS; without a log it has no events.
        count: at most.
        user: raw id as text, whose events alone are wanted; empty: everybody's.

    Raises:
        ArtefactError: the log cannot be read.
    """
    found: list[Event] = []
    looked, left, end = 0, MOST_BYTES, -1
    try:
        for segment in reversed(list_segments(folder)):
            frames, num_bytes, last = _frames_at_end(segment.path, count if not user else 0, left)
            end = max(end, last, segment.first_offset)
            looked += sum(len(frame.events) for frame in frames)
            for frame in reversed(frames):
                if len(found) < count:
                    found += reversed(_events(_of(frame, user), count - len(found)))
            left -= num_bytes
            if len(found) >= count or left <= 0:
                break
    except OSError as error:
        raise ArtefactError(str(error) if isinstance(error, LogError) else f"the log of {folder}: {error}") from None
    return Latest(max(end, 0), found[:count], looked)


def _frames_at_end(path: Path, count: int, most_bytes: int) -> tuple[list[Frame], int, int]:
    """The last whole frames of a file, with `count` events where it has them; the bytes read; the offset at its end.

    A count of 0 is all that may be read. A file that is no longer there has no events: others are read in its place.
    """
    try:
        with path.open("rb") as file:
            size, span = file.seek(0, 2), most_bytes if not count else min(TAIL_BYTES, most_bytes)
            while True:
                file.seek(max(size - span, 0))
                frames, end = _frames_in(file.read(span))
                is_enough = count and sum(len(frame.events) for frame in frames) >= count
                if is_enough or span >= min(size, most_bytes):
                    return frames, min(span, size), end
                span = min(4 * span, most_bytes)
    except FileNotFoundError:
        return [], 0, -1


def _frames_in(packed: bytes) -> tuple[list[Frame], int]:
    """Every whole frame of some bytes, which may begin and end within one, and the offset behind the last; -1: none."""
    frames, end = list[Frame](), -1
    place = FRAMING.next_whole(packed, 0)
    while place >= 0:
        header = decode_header(packed, place)
        assert header is not None
        begin = place + FRAMING.header_bytes
        end = header.next_offset
        if not header.is_seal:
            frames.append(decode(header, packed[begin : begin + header.length]))
        place = FRAMING.next_whole(packed, begin + header.length)
    return frames, end


def _of(frame: Frame, user: str) -> Frame:
    """The events of a user; of everybody where it is empty."""
    if not user:
        return frame
    wanted: object = user.encode() if frame.events.user.dtype == object else int(user) if user.isdecimal() else None
    return frame.take(np.array([found == wanted for found in frame.events.user.tolist()], bool))


def _events(frame: Frame, most: int) -> list[Event]:
    """The last ones."""
    kept = slice(max(len(frame.events) - most, 0), None)
    events = frame.events.take(kept)
    return [
        Event(offset, KINDS[kind], _text(user), _text(item), events.labels[label], value, at, frame.received_at, extra)
        for offset, kind, user, item, label, value, at, extra in zip(
            frame.offsets[kept].tolist(),
            events.kind.tolist(),
            events.user.tolist(),
            events.item.tolist(),
            events.label.tolist(),
            events.value.tolist(),
            events.at.tolist(),
            map(_text, events.extra.tolist()),
            strict=True,
        )
    ]


def _text(value: int | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
