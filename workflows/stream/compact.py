"""Housekeeping of a folder EVENTS, beside a server that writes it: the log moves to Parquet, forgotten users go."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from runtime.stream.log.errors import BusyError, LogError
from runtime.stream.log.lock import FolderLock
from runtime.stream.log.log import SEAL_REQUEST, EventLog
from runtime.stream.log.reader import first_offset
from runtime.stream.log.segments import list_segments, sync_folder
from runtime.stream.store import StoreError
from workflows.core.disk import writing
from workflows.core.errors import DataError
from workflows.stream.checkpoint import make_checkpoint, remove_checkpoints, remove_others
from workflows.stream.forget import forget_users, forgotten_until, note_forgotten
from workflows.stream.parquet import last_arrival, list_files, write_file

__all__ = ["Compaction", "compact"]

LOCK = "compact.lock"
KEEP_CHECKPOINTS = 2
DAY_NS = 86_400 * 10**9


class Compaction(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        is_sealed: whether no server writes, so that every event was within reach; else the latest ones are not.
        num_converted: segments that went to Parquet.
        num_forgotten: events of forgotten users that are gone.
        position: of the new checkpoint.
        num_removed: segments that left the log, being in Parquet and in the checkpoint.
        num_expired: Parquet files that were too old.
    """

    is_sealed: bool
    num_converted: int
    num_forgotten: int
    position: int
    num_removed: int
    num_expired: int


def compact(folder: Path, state_version: str, keep_days: int | None = None) -> Compaction:
    """Seal the log, write it to Parquet, carry out orders to forget, copy the state, remove what is no longer needed.

    Each step may be stopped anywhere; the next call goes on. A server may write meanwhile: its latest segment stays,
    and is sealed with its next event, for the next call.

    Args:
        folder: EVENTS.
        state_version: of the state that is being served.
        keep_days: events that arrived longer ago than this are removed for good; None: all are kept.

    Raises:
        DataError: another process compacts it, it is damaged, or it holds no whole state.
        CascadeError: the disk is full.
    """
    with writing("stream compact", folder), _alone(folder):
        _remove_leftovers(folder)
        is_sealed = _seal(folder)
        num_converted = _convert(folder)
        sealed_until = list_segments(folder)[-1].first_offset
        forgotten, num_forgotten = forget_users(folder, forgotten_until(folder), sealed_until)
        position = make_checkpoint(folder, state_version)
        # A copy that knows the order to forget a user; the ones before it know the user.
        is_clean = forgotten is None or position > forgotten.last
        remove_checkpoints(folder, state_version, 1 if forgotten and is_clean else KEEP_CHECKPOINTS)
        if forgotten and is_clean:
            # Of an earlier release or [stream]: they know the user, and nobody writes them any more.
            remove_others(folder, state_version, forgotten.last)
        if is_clean:
            note_forgotten(folder, sealed_until, forgotten is not None)
        return Compaction(
            is_sealed=is_sealed,
            num_converted=num_converted,
            num_forgotten=num_forgotten,
            position=position,
            num_removed=_remove_segments(folder, position),
            num_expired=0 if keep_days is None else _remove_older(folder, time.time_ns() - keep_days * DAY_NS),
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other process does this, with what the log and the state say as sentences of a command."""
    try:
        lock = FolderLock(folder / LOCK, "compacted")
        try:
            yield
        finally:
            lock.release()
    except (LogError, StoreError) as error:
        raise DataError(str(error)) from error


def _remove_leftovers(folder: Path) -> None:
    """What a killed process was writing."""
    for path in [*(folder / "log").glob("*.tmp"), *(folder / "parquet").glob("*.tmp")]:
        path.unlink()


def _seal(folder: Path) -> bool:
    """End the segment that is being written; a server is asked to do it with its next event, and false returned."""
    try:
        log = EventLog(folder, sync=True, segment_bytes=1)
    except BusyError:
        (folder / SEAL_REQUEST).touch()
        return False
    try:
        log.seal()
    finally:
        log.close()
    (folder / SEAL_REQUEST).unlink(missing_ok=True)
    return True


def _convert(folder: Path) -> int:
    """Write every sealed segment to Parquet that is not there."""
    known = {(file.first_offset, file.next_offset) for file in list_files(folder)}
    segments = list_segments(folder)
    ranges = [(segment.first_offset, behind.first_offset) for segment, behind in itertools.pairwise(segments)]
    missing = [found for found in ranges if found not in known]
    for first, following in missing:
        write_file(folder, first, following)
    return len(missing)


def _remove_segments(folder: Path, position: int) -> int:
    """Remove the sealed segments that are in Parquet and below a position of the state."""
    known = {(file.first_offset, file.next_offset) for file in list_files(folder)}
    count = 0
    for segment, behind in itertools.pairwise(list_segments(folder)):
        if behind.first_offset > position or (segment.first_offset, behind.first_offset) not in known:
            break
        segment.path.unlink()
        count += 1
    sync_folder(folder / "log")
    return count


def _remove_older(folder: Path, instant: int) -> int:
    """Remove the Parquet files in which everything arrived before an instant, from the oldest on."""
    in_log = first_offset(folder)
    count = 0
    for file in list_files(folder):
        if file.next_offset > in_log or last_arrival(file.path) >= instant:
            break
        file.path.unlink()
        count += 1
    return count
