"""A reader that looks again and again gets every event once, in order, whatever becomes of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.stream.log.log import EventLog
from runtime.stream.log.segments import list_segments
from tests.runtime.stream.log.made import events_of
from workflows.stream.compact import compact
from workflows.stream.follow import Follower


def items_of(follower: Follower) -> list[int]:
    return [item for batch in follower.read() for item in batch.events.item.tolist()]


@pytest.mark.parametrize("segment_bytes", [300, 2_000, 1 << 20])
def test_every_event_comes_once_and_in_order(tmp_path: Path, segment_bytes: int) -> None:
    random, seen, late = np.random.default_rng(5), list[int](), list[int]()
    follower, second = Follower(tmp_path, 0), Follower(tmp_path, 3)
    assert items_of(follower) == []
    log = EventLog(tmp_path, sync=False, segment_bytes=segment_bytes)
    assert items_of(follower) == []
    for _ in range(60):
        count = int(random.integers(1, 9))
        log.append(events_of([1] * count, list(range(log.next_offset, log.next_offset + count))), 0)
        if random.random() < 0.7:
            seen += items_of(follower)
        if random.random() < 0.2:
            late += items_of(second)
        assert follower.offset == len(seen)
    log.close()
    assert len(list_segments(tmp_path)) > 1 or segment_bytes > 10_000
    assert seen + items_of(follower) == list(range(log.next_offset))
    assert late + items_of(second) == list(range(3, log.next_offset))
    assert items_of(follower) == items_of(second) == []


def test_what_left_the_log_comes_from_parquet(tmp_path: Path) -> None:
    from runtime.stream.ingest import Ingest
    from runtime.stream.spec import StreamSpec

    spec = StreamSpec("INT64", "INT64", ("click", "buy"), segment_bytes=500)
    follower, seen = Follower(tmp_path, 0), list[int]()
    for start in range(0, 200, 50):
        ingest = Ingest(tmp_path, spec)
        for place in range(start, start + 50, 10):
            ingest.accept(events_of([1] * 10, list(range(place, place + 10))), 0)
        if start == 50:
            seen = items_of(follower)
        ingest.close()
        compact(tmp_path, spec.state_version)
    assert seen + items_of(follower) == list(range(200))


def test_a_look_where_nothing_is_new_reads_next_to_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path, sync=False, segment_bytes=64 << 20)
    for place in range(300):
        log.append(events_of([1] * 50, [place] * 50), 0)
    follower = Follower(tmp_path, 0)
    assert len(items_of(follower)) == 15_000
    size = list_segments(tmp_path)[0].path.stat().st_size
    before = _bytes_read()
    for _ in range(20):
        assert items_of(follower) == []
    assert _bytes_read() - before < size / 2
    log.append(events_of([1], [7]), 0)
    assert items_of(follower) == [7]


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])
