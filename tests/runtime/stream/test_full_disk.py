"""A small file system that fills up under the log and the state of live events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.stream.folder import state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.log.reader import read_log
from runtime.stream.store import USER, LmdbStore, StoreError
from tests.runtime.stream.test_ingest import ARRIVAL, SPEC, events, histories, made_of, records
from tests.small_disk import small_disk

SIZE = 2 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder of two megabytes."""
    with small_disk(tmp_path / "small", SIZE) as folder:
        yield folder


def test_a_state_without_space_is_one_sentence_and_goes_on_when_there_is_some(small: Path, tmp_path: Path) -> None:
    live = Ingest(small / "live", SPEC)
    start, users = 0, 60
    accepted = []

    def give(count: int) -> None:
        nonlocal start
        live.accept(events(start, count, users), ARRIVAL)
        accepted.append((start, count))
        start += count

    give(60)
    padding = small / "padding"
    # Space for the log's frame, a few hundred bytes, and not for the pages that a commit writes.
    with padding.open("wb") as file:
        free = SIZE - sum(path.stat().st_blocks * 512 for path in small.rglob("*") if path.is_file())
        file.write(b"x" * (free - 40_000))
    with pytest.raises(StoreError) as refused:
        for _ in range(100):
            give(60)
    said = str(refused.value)
    state = state_folder(small / "live", SPEC.state_version)
    assert said == f"the state {state} cannot be written: its disk is full; free some space on it"
    # It is still read, and as it was.
    reader = LmdbStore(state, writable=False)
    with reader.read() as reading:
        assert reading.position == start
        assert sum(1 for _ in reading.scan(USER)) == users
    with pytest.raises(OSError, match=r"disk is full|No space left"):
        live.accept(events(start, 1, users), ARRIVAL)
    padding.unlink()
    # What was not acknowledged is sent again, under the same ids; the log may have it already.
    status, _ = live.accept(events(start, 60, users), ARRIVAL)
    assert len(set(status.tolist())) == 1
    accepted.append((start, 60))
    live.close()
    logged = [int(i[6:]) for frame in read_log(small / "live") for i in frame.events.event_id.tolist()]
    assert set(logged) == set(range(start + 60))
    right = made_of(tmp_path, *(events(first, count, users) for first, count in accepted))
    assert histories(records(small / "live")) == histories(right)
    again = Ingest(small / "live", SPEC)
    assert again.replayed == 0
    again.close()
