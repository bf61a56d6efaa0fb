"""Many small files of a day become few: a collector that follows a log writes one every few seconds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from operations.folder import REQUESTS, Change
from operations.log.write import merge_files
from workflows.core import console

__all__ = ["Compactor"]

# Files of a day that goes on are merged once there are so many below a size; those of a day that is over, all.
MOST_SMALL, SMALL_BYTES, WHOLE_BYTES = 64, 4 << 20, 64 << 20
# By then a day has no more requests but for those of a server that was away.
OVER_AFTER = timedelta(hours=1)
# MON is held meanwhile.
MOST_MERGES = 8


class Compactor:
    """Merges the files of MON's requests, a few at a time.

    Args:
        folder: MON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # What was told once, of files that cannot be merged.
        self._told: set[Path] = set()

    def compact(self) -> int:
        """Merge what is due; the caller holds MON, which is the same before and after whatever ends this.

        Returns:
            The number of files that are gone.
        """
        num_gone = 0
        for merged, paths in enumerate(self._due()):
            if merged == MOST_MERGES:
                break
            num_gone += len(paths) - 1 if self._merge(paths) else 0
        return num_gone

    def _due(self) -> Iterator[list[Path]]:
        """Files of one day, chain and schema each, that are to become one."""
        now = datetime.now(timezone.utc)
        for place in sorted((self._folder / REQUESTS).glob("chain=*/date=*")):
            if place in self._told:
                continue
            try:
                is_over = _end_of(place) + OVER_AFTER < now
                sizes = {path: path.stat().st_size for path in sorted(place.glob("[!.]*.parquet"))}
                limit = WHOLE_BYTES if is_over else SMALL_BYTES
                small = {path: size for path, size in sizes.items() if size < limit}
                if len(small) >= (2 if is_over else MOST_SMALL):
                    yield from _groups(small)
            except (OSError, ValueError, pa.ArrowException) as error:
                self._tell(place, error)

    def _merge(self, paths: Sequence[Path]) -> bool:
        change = Change(self._folder)
        try:
            merge_files(paths, change.place(paths[0].with_name(f"{time.time_ns()}-0.parquet")))
            for path in paths:
                change.remove(path)
            change.commit()
        except (OSError, pa.ArrowException) as error:
            change.abandon()
            self._tell(paths[0].parent, error)
            return False
        except BaseException:
            change.abandon()
            raise
        return True

    def _tell(self, place: Path, error: Exception) -> None:
        """Requests are collected all the same."""
        self._told.add(place)
        console.say(f"log collect: the files of {place} stay as they are ({str(error).splitlines()[0]})")


def _end_of(place: Path) -> datetime:
    day = date.fromisoformat(place.name.removeprefix("date="))
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc) + timedelta(days=1)


def _groups(sizes: Mapping[Path, int]) -> Iterator[list[Path]]:
    """Files of the same schema, in their order, of at most WHOLE_BYTES together."""
    by_schema: dict[str, list[Path]] = defaultdict(list)
    for path in sizes:
        by_schema[str(pq.read_schema(path).remove_metadata())].append(path)
    for paths in by_schema.values():
        group: list[Path] = []
        group_bytes = 0
        for path in paths:
            if group_bytes + sizes[path] > WHOLE_BYTES:
                if len(group) > 1:
                    yield group
                group, group_bytes = [], 0
            group.append(path)
            group_bytes += sizes[path]
        if len(group) > 1:
            yield group
