"""Users who are to be forgotten: their events leave the sealed segments, Parquet, the refused events and the
served requests that are kept for audits.

A `forget` event is the order, and stays. What its user did before it goes; what the user does after it is kept.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import FORGET, ITEM, KINDS, Events
from runtime.stream.log.frame import Frame, encode, seal
from runtime.stream.log.reader import Batch, first_offset, read_log
from runtime.stream.log.segments import Segment, list_segments, sync_folder
from runtime.stream.rejected import rejected_files
from runtime.stream.served import sample_files
from runtime.stream.set_aside import held_set_aside, set_aside_file
from workflows.stream.history import first_event, read_events
from workflows.stream.parquet import EventFile, list_files, read_file, write_batches

__all__ = ["Forgotten", "find_orders", "forget_users", "forgotten_until", "has_forgotten", "note_forgotten"]

NOTE = "forgotten.json"


class Forgotten:
    """Users to forget, and up to where.

    Args:
        events: their FORGET events; at least one.
        offsets: int64 [n], of these.
    """

    def __init__(self, events: Events, offsets: NDArray[np.int64]) -> None:
        # The latest order of each user holds.
        self._users, last = np.unique(events.user[::-1], return_index=True)
        self._until = offsets[::-1][last]

    def rows(self, events: Events, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each event is to go; bool [n]."""
        place = np.minimum(np.searchsorted(self._users, events.user), len(self._users) - 1)
        is_before = (self._users[place] == events.user) & (offsets < self._until[place])
        found: NDArray[np.bool_] = is_before & (events.kind != FORGET) & (events.kind != ITEM)
        return found

    @property
    def until(self) -> dict[str, int]:
        """The offset of the latest order by user, as text."""
        users = [user.decode() if isinstance(user, bytes) else str(user) for user in self._users.tolist()]
        return dict(zip(users, self._until.tolist(), strict=True))

    def is_of(self, line: Any) -> bool:
        """Whether the event of a line of `runtime.stream.set_aside` is to go, as `rows` says of events of the log."""
        event = line["event"]
        is_before = line["offset"] < self.until.get(str(event["user_id"]), 0)
        return is_before and event["kind"] not in (KINDS[FORGET], KINDS[ITEM])

    @property
    def last(self) -> int:
        """The offset of the latest order."""
        return int(self._until.max())


def forget_users(folder: Path, start: int, stop: int) -> tuple[Forgotten | None, int]:
    """Carry out the orders of a range of offsets; stopped anywhere, the same call goes on.

    Args:
        folder: EVENTS.
        start: the first offset.
        stop: behind the last one, at most the first offset of the segment that is being written.

    Returns:
        The orders, None where there are none; and how many events are gone.

    Raises:
        LogError: the log is damaged.
        OSError: a file cannot be written; the one in its place stays.
    """
    forgotten = find_orders(folder, max(start, first_event(folder)), stop)
    if forgotten is None:
        return None, 0
    in_log = first_offset(folder)
    count = 0
    for file in list_files(folder):
        gone = _forget_in_file(file, forgotten)
        count += gone if file.next_offset <= in_log else 0
    for segment, following in itertools.pairwise(list_segments(folder)):
        count += _forget_in_segment(folder, segment, following.first_offset, forgotten)
    names = set(forgotten.until)
    _forget_lines(rejected_files(folder), lambda line: str(line["event"]["user_id"]) in names)
    # A line goes with its event and never before: whoever reads the log must not take that for one that counts.
    if (path := set_aside_file(folder)).exists():
        with held_set_aside(path):
            _forget_lines([path], forgotten.is_of)
    _forget_lines(sample_files(folder), lambda line: str(line["user"]) in names)
    return forgotten, count


def forgotten_until(folder: Path) -> int:
    """Orders with smaller offsets have been carried out."""
    return int(_note(folder)["until"])


def has_forgotten(folder: Path) -> bool:
    """Whether events are gone from the log and Parquet that windows of items may still count."""
    return bool(_note(folder)["is_any"])


def note_forgotten(folder: Path, until: int, is_any: bool) -> None:
    """Keep how far orders have been carried out, and whether there were any."""
    beside = folder / f"{NOTE}.tmp"
    with beside.open("w") as file:
        json.dump({"until": until, "is_any": is_any or has_forgotten(folder)}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / NOTE)
    sync_folder(folder)


def _note(folder: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads((folder / NOTE).read_text())
    except FileNotFoundError:
        return {"until": 0, "is_any": False}
    return note


def find_orders(folder: Path, start: int, stop: int) -> Forgotten | None:
    """The users whom the events between two offsets forget; None where they forget nobody.

    Raises:
        LogError, DataError: see `read_events`.
    """
    found: list[tuple[Events, NDArray[np.int64]]] = []
    for batch in read_events(folder, start, stop):
        rows = np.flatnonzero(batch.events.kind == FORGET)
        if len(rows):
            found.append((batch.events.take(rows), batch.offsets[rows]))
    if not found:
        return None
    return Forgotten(Events.join([events for events, _ in found]), np.concatenate([offsets for _, offsets in found]))


def _forget_in_file(file: EventFile, forgotten: Forgotten) -> int:
    """Write a Parquet file without some users' events, unless it has none; the number that is gone."""
    if file.first_offset > forgotten.last:
        return 0
    count = sum(int(forgotten.rows(batch.events, batch.offsets).sum()) for batch in read_file(file.path))
    if count:
        write_batches(file.path, _without(read_file(file.path), forgotten))
    return count


def _without(batches: Iterable[Batch], forgotten: Forgotten) -> Iterator[Batch]:
    for batch in batches:
        kept = ~forgotten.rows(batch.events, batch.offsets)
        yield Batch(batch.events.take(kept), batch.offsets[kept], batch.received_at[kept], batch.next_offset)


def _forget_in_segment(folder: Path, segment: Segment, next_offset: int, forgotten: Forgotten) -> int:
    """The same for a sealed segment."""
    if segment.first_offset > forgotten.last:
        return 0
    count = 0
    for frame in _frames(folder, segment, next_offset):
        count += int(forgotten.rows(frame.events, frame.offsets).sum())
    if not count:
        return 0
    beside = segment.path.with_suffix(".tmp")
    try:
        with beside.open("wb") as file:
            for frame in _frames(folder, segment, next_offset):
                file.write(encode(frame.take(~forgotten.rows(frame.events, frame.offsets))))
            file.write(seal(next_offset))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(segment.path)
        sync_folder(segment.path.parent)
    finally:
        beside.unlink(missing_ok=True)
    return count


def _frames(folder: Path, segment: Segment, next_offset: int) -> Iterator[Frame]:
    return itertools.takewhile(lambda frame: frame.first_offset < next_offset, read_log(folder, segment.first_offset))


def _forget_lines(paths: Iterable[Path], is_to_go: Callable[[Any], bool]) -> None:
    """Take users out of files with a JSON object a line; what a server adds in this very instant may be lost with them.

    Args:
        paths: of the files; some may be absent.
        is_to_go: whether an object is of a user who is to be forgotten.
    """
    for path in paths:
        if not path.exists():
            continue
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not _says(line, is_to_go)]
        if len(kept) < len(lines):
            beside = path.with_suffix(".tmp")
            beside.write_text("".join(kept))
            beside.replace(path)


def _says(line: str, is_to_go: Callable[[Any], bool]) -> bool:
    """Whether a line says so; half a line, and one that names no user, does not."""
    try:
        return is_to_go(json.loads(line))
    except (ValueError, KeyError, TypeError):
        return False
