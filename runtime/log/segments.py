"""Segments of the request log, as whoever reads them sees them: damage costs the one frame that it is in."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.log.folder import OPEN, OPEN_SUFFIX, READY, READY_SUFFIX
from runtime.log.record import ANSWER, COUNTS, FORMAT_VERSION, FRAMING, HEADER, REQUEST, WHOLE, Record
from runtime.stream.log.errors import LogError

__all__ = ["Segment", "adopt", "chain_keys", "read_segment", "ready_segments"]

HEADER_AT_MOST = 1 << 16


@dataclass(frozen=True)
class Segment:
    """What a segment holds.

    Attributes:
        path: of the file.
        header: what its writer says of itself; empty where that is damaged.
        records: whole ones, in the order in which they were written.
        counts: of its writer since it began, as of the end of the segment; empty where the writer was ended before.
        num_damaged: places where bytes are harmed, with whole frames behind them.
        torn_bytes: at the end: of a record that was being written when the writer ended.
    """

    path: Path
    header: dict[str, Any]
    records: list[Record]
    counts: dict[str, int]
    num_damaged: int
    torn_bytes: int


def read_segment(path: Path) -> Segment:
    """Read a segment.

    Raises:
        LogError: it cannot be read, or a later release wrote it.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise LogError(f"{path} cannot be read ({error.strerror})") from error
    header: dict[str, Any] = {}
    records: list[Record] = []
    counts: dict[str, int] = {}
    frames = _Frames(packed, path)
    for kind, body in frames:
        if kind == HEADER:
            header = json.loads(body)
        elif kind == COUNTS:
            counts = json.loads(body)
        elif kind in (REQUEST, ANSWER, WHOLE):
            records.append(Record.unpack(kind, body))
    return Segment(path, header, records, counts, frames.num_damaged, frames.torn_bytes)


def ready_segments(log: Path) -> list[Path]:
    """The segments of a LOG folder that nobody writes any more, oldest first."""
    return sorted((path for path in (log / READY).glob(f"*{READY_SUFFIX}")), key=lambda path: path.stat().st_mtime_ns)


def adopt(log: Path) -> list[Path]:
    """Make the segments ready whose writers have ended without doing so; returns them.

    Raises:
        LogError: the folder cannot be written.
    """
    adopted = []
    for path in sorted((log / OPEN).glob(f"*{OPEN_SUFFIX}")):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # its writer has made it ready just now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            target = log / READY / (path.name.removesuffix(OPEN_SUFFIX) + READY_SUFFIX)
            path.rename(target)
            adopted.append(target)
        except (BlockingIOError, FileNotFoundError):
            continue
        except OSError as error:
            raise LogError(f"{path} cannot be made ready ({error.strerror})") from error
        finally:
            os.close(handle)
    return adopted


def chain_keys(log: Path) -> set[str]:
    """The chains that the segments of a LOG folder name, those that are being written included."""
    keys = set()
    for path in (*(log / OPEN).glob(f"*{OPEN_SUFFIX}"), *(log / READY).glob(f"*{READY_SUFFIX}")):
        try:
            with path.open("rb") as file:
                begin = file.read(HEADER_AT_MOST)
        except FileNotFoundError:
            continue
        header = FRAMING.header(begin)
        body = None if header is None else FRAMING.body(begin, 0, header)
        if body is not None:
            keys.add(json.loads(body)["chain_key"])
    return keys


class _Frames:
    """The whole frames of a segment, (kind, body) each; what is harmed between them is counted."""

    def __init__(self, packed: bytes, path: Path) -> None:
        self._packed, self._path = packed, path
        self.num_damaged, self.torn_bytes = 0, 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        start = 0
        while start < len(self._packed):
            header = FRAMING.header(self._packed, start)
            body = None if header is None else FRAMING.body(self._packed, start, header)
            if header is None or body is None:
                following = FRAMING.next_whole(self._packed, start + 1)
                if following < 0:
                    self.torn_bytes = len(self._packed) - start
                    return
                self.num_damaged += 1
                start = following
                continue
            _, length, version, kind = header
            if version != FORMAT_VERSION:
                raise LogError(
                    f"{self._path} has format version {version}, this release reads {FORMAT_VERSION}: update"
                )
            yield kind, body
            start += FRAMING.header_bytes + length
