"""All events of a folder EVENTS, wherever they are: in the log, or in Parquet once the log no longer has them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from runtime.stream.log.errors import CompactedError, LogError
from runtime.stream.log.reader import Batch, first_offset, read_batches
from runtime.stream.set_aside import set_aside_offsets
from workflows.core.errors import DataError
from workflows.stream.parquet import list_files, read_file

__all__ = ["first_event", "read_events"]

ROWS = 1 << 16


def first_event(folder: Path) -> int:
    """The smallest offset that a folder EVENTS still has.

    Raises:
        LogError: the log cannot be read.
    """
    files = list_files(folder)
    in_log = first_offset(folder)
    return min(files[0].first_offset, in_log) if files else in_log


def read_events(folder: Path, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
    """The events of a folder EVENTS from an offset on, without those that no state could take in.

    Args:
        folder: EVENTS.
        start: the first offset.
        stop: the offset that is no longer read; None: the end of the log.

    Raises:
        LogError: the log is damaged or cannot be read.
        DataError: events are neither in the log nor in Parquet.
    """
    set_aside = set_aside_offsets(folder)
    while stop is None or start < stop:
        try:
            for batch in read_batches(folder, start, stop, ROWS):
                yield batch.without(set_aside)
                start = batch.next_offset
            return
        except CompactedError as error:
            start = yield from _read_parquet(folder, start, stop, error)


def _read_parquet(folder: Path, start: int, stop: int | None, error: LogError) -> Generator[Batch, None, int]:
    """The events of the one file that has an offset; returns the offset behind it."""
    files = list_files(folder)
    file = next((file for file in files if file.first_offset <= start < file.next_offset), None)
    if file is None:
        later = [found.first_offset for found in files if found.first_offset > start]
        kept = min([*later, first_offset(folder)])
        raise DataError(
            f"{folder} no longer has the events {start} to {kept - 1}, neither in its log nor in Parquet; what it has "
            f"begins with event {kept}"
        ) from error
    yield from read_file(file.path, start, stop)
    return file.next_offset
