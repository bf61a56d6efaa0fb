"""The files of a log: EVENTS/log/ holds segments, each named by its first offset, all but the last one sealed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runtime.stream.log.errors import CompactedError, LogError
from runtime.stream.log.frame import FRAMING, HEADER_BYTES, Header, decode_header, is_whole

__all__ = [
    "ID",
    "LOG",
    "Raw",
    "Segment",
    "bytes_to_cut",
    "check_seal",
    "check_seals",
    "damaged",
    "frames_in",
    "list_segments",
    "sync_folder",
]

LOG, SUFFIX = "log", ".log"
# The file that tells one log from another, whose offsets mean other events.
ID = "id"
BUFFER_BYTES = 1 << 18


class Segment(NamedTuple):
    """A file of the log.

    Attributes:
        first_offset: of its first event.
        path: of the file.
    """

    first_offset: int
    path: Path

    @classmethod
    def at(cls, folder: Path, first_offset: int) -> Segment:
        """The segment of a folder EVENTS that begins at an offset."""
        return cls(first_offset, folder / LOG / f"{first_offset:020d}{SUFFIX}")


class Raw(NamedTuple):
    """A frame as it is in a file.

    Attributes:
        start: byte of the file.
        header: in front of it.
        body: its columns, unharmed.
    """

    start: int
    header: Header
    body: bytes

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.start + HEADER_BYTES + len(self.body)


def list_segments(folder: Path) -> list[Segment]:
    """The segments of a folder EVENTS, in order; none where there is no log.

    Raises:
        LogError: it cannot be read, or holds a file that is no segment.
    """
    try:
        names = [path.name for path in (folder / LOG).iterdir() if path.suffix == SUFFIX]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogError(f"the log {folder / LOG} cannot be read ({error.strerror})") from error
    if odd := [name for name in names if not name.removesuffix(SUFFIX).isdecimal()]:
        raise LogError(f"{folder / LOG / min(odd)} is no segment of the log, which are named by numbers: move it away")
    return sorted(Segment(int(name.removesuffix(SUFFIX)), folder / LOG / name) for name in names)


def frames_in(segment: Segment, start: int, offset: int) -> Iterator[Raw]:
    """The frames of a segment, up to the first that is not whole and unharmed.

    Args:
        segment: to read.
        start: byte of the first frame.
        offset: of its first event.

    Raises:
        LogError: the file cannot be read, or a frame has another offset than what is before it says.
    """
    try:
        with segment.path.open("rb", BUFFER_BYTES) as file:
            file.seek(start)
            while (header := decode_header(file.read(HEADER_BYTES))) is not None:
                body = file.read(header.length)
                if not is_whole(header, body):
                    return
                if header.first_offset != offset:
                    raise LogError(
                        f"{segment.path} has event {header.first_offset} at byte {start}, expected event {offset}; "
                        f"put a copy of it back"
                    )
                raw = Raw(start, header, body)
                yield raw
                start, offset = raw.end, header.next_offset
    except FileNotFoundError as error:
        raise CompactedError(f"{segment.path} has left the log; read its events from Parquet") from error
    except LogError:
        raise
    except OSError as error:
        raise LogError(f"{segment.path} cannot be read ({error.strerror})") from error


def check_seals(segments: list[Segment]) -> None:
    """Check that every segment but the last ends with its seal, and that the next one begins there.

    Raises:
        LogError: the file that does not.
    """
    for segment, following in itertools.pairwise(segments):
        with segment.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - HEADER_BYTES, 0))
            header = decode_header(file.read())
        if header is None or not header.is_seal:
            raise damaged(segment, size)
        check_seal(segment, header, following)


def damaged(segment: Segment, start: int) -> LogError:
    """What to say of a sealed segment that has a byte where neither a good frame nor its seal is."""
    return LogError(f"{segment.path} is damaged at byte {start}; put a copy of it back")


def check_seal(segment: Segment, header: Header, following: Segment) -> None:
    """Check that the next segment begins where the seal of one says.

    Raises:
        LogError: events are missing between the two.
    """
    if header.next_offset != following.first_offset:
        raise LogError(
            f"the log lacks the events {header.next_offset} to {following.first_offset - 1}, between "
            f"{segment.path.name} and {following.path}; put the segments between them back"
        )


def bytes_to_cut(segment: Segment, start: int) -> int:
    """What is to be cut off the last segment: a frame that was being written when its writer ended.

    Args:
        segment: the last one.
        start: the byte behind its last good frame.

    Raises:
        LogError: it is no such frame, but damage with events behind it.
    """
    with segment.path.open("rb") as file:
        file.seek(start)
        rest = file.read()
    header = decode_header(rest)
    if header is not None:
        behind = len(rest) > HEADER_BYTES + header.length
    else:
        behind = FRAMING.next_whole(rest, 1) >= 0
    if behind:
        raise LogError(
            f"{segment.path} is damaged at byte {start}, with events behind it; put a copy of it back, or lose them: "
            f"truncate -s {start} {segment.path}"
        )
    return len(rest)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder would survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
