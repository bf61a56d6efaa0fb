"""Events in Parquet are the events of the log, and a history is read from wherever it is."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.stream.events import FORGET, ITEM, Events
from runtime.stream.log.log import EventLog
from runtime.stream.log.reader import Batch
from runtime.stream.log.segments import list_segments
from tests.runtime.stream.log.made import batches, columns_of, events_of, objects, same
from workflows.core.errors import DataError
from workflows.stream.history import first_event, read_events
from workflows.stream.parquet import list_files, read_file, write_batches, write_file


def log_of(folder, *parts: Events, segment_bytes: int = 1 << 20) -> int:
    log = EventLog(folder, sync=False, segment_bytes=segment_bytes)
    for number, events in enumerate(parts):
        log.append(events, number)
    log.close()
    return log.next_offset


def joined(batches) -> Batch:
    found = list(batches)
    return Batch(
        Events.join([batch.events for batch in found]),
        np.concatenate([batch.offsets for batch in found]),
        np.concatenate([batch.received_at for batch in found]),
        found[-1].next_offset,
    )


@settings(max_examples=60)
@given(events=batches(min_size=1), data=st.data())
def test_any_events_are_read_back_as_they_were(tmp_path_factory, events, data):
    n = len(events)
    offsets = np.array(sorted(data.draw(st.sets(st.integers(0, 2**62), min_size=n, max_size=n))))
    received = np.array(data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n)), np.int64)
    path = tmp_path_factory.mktemp("parquet") / "events.parquet"
    write_batches(path, [Batch(events, offsets, received, int(offsets[-1]) + 1)])
    found = joined(read_file(path))
    assert same(found.events, events)
    assert (found.offsets.tolist(), found.received_at.tolist()) == (offsets.tolist(), received.tolist())
    assert [path.name for path in path.parent.iterdir()] == [path.name]


def test_other_tools_find_plain_columns_and_nulls_where_nothing_is_said(tmp_path):
    kinds = [0, ITEM, FORGET]
    events = events_of([7, 0, 8], [2**53 + 1, 5, 0], kind=kinds, at=[1, 2, 3], event_id=[b"e", b"", b""])
    log_of(tmp_path, events)
    table = pq.read_table(write_file(tmp_path, 0, 3).path)
    assert table.schema.field("at").type == pa.timestamp("ns", "UTC")
    assert table["user_id"].to_pylist() == [7, None, 8]
    assert table["item_id"].to_pylist() == [2**53 + 1, 5, None]
    assert table["kind"].to_pylist() == ["interaction", "item", "forget"]
    assert table["event_id"].to_pylist() == ["e", None, None]
    assert table["extra"].null_count == 3
    assert table["label"].to_pylist() == ["click"] * 3
    assert table["offset"].to_pylist() == [0, 1, 2]
    text = Events(**{**events.__dict__, "user": objects([b"007", b"", b"u"])})
    log_of(tmp_path / "text", text)
    assert pq.read_table(write_file(tmp_path / "text", 0, 3).path)["user_id"].to_pylist() == ["007", None, "u"]


def test_ids_of_two_types_are_not_one_table(tmp_path):
    log_of(tmp_path, events_of([1]), events_of([b"a"]))
    with pytest.raises(DataError, match="the ids before event 2 are of two types"):
        write_file(tmp_path, 0, 2)
    assert list((tmp_path / "parquet").iterdir()) == []


def test_a_history_is_read_from_parquet_where_the_segments_are_gone(tmp_path):
    end = log_of(tmp_path, *[events_of(range(10 * n, 10 * n + 10)) for n in range(7)], segment_bytes=600)
    segments = list_segments(tmp_path)
    for segment, following in itertools.pairwise(segments[:3]):
        write_file(tmp_path, segment.first_offset, following.first_offset)
        segment.path.unlink()
    assert first_event(tmp_path) == 0
    for start, stop in ((0, None), (0, 5), (3, 45), (19, 21), (20, 40), (47, None), (end, None), (5, 5)):
        found = list(read_events(tmp_path, start, stop))
        expected = list(range(end))[start:stop]
        assert [offset for batch in found for offset in batch.offsets.tolist()] == expected
        assert [user for batch in found for user in batch.events.user.tolist()] == expected
        assert [at for batch in found for at in batch.received_at.tolist()] == [offset // 10 for offset in expected]
    list_files(tmp_path)[0].path.unlink()
    assert first_event(tmp_path) == 20
    with pytest.raises(DataError, match="no longer has the events 3 to 19, neither in its log nor in Parquet"):
        list(read_events(tmp_path, 3))


def test_a_longer_file_replaces_a_shorter_one(tmp_path):
    log_of(tmp_path, events_of(range(10)))
    write_file(tmp_path, 0, 4)
    write_file(tmp_path, 0, 10)
    assert [file.next_offset for file in list_files(tmp_path)] == [10]
    assert len(list((tmp_path / "parquet").iterdir())) == 1


def test_a_file_of_nobody_can_be_read(tmp_path):
    write_batches(tmp_path / "none.parquet", [])
    assert list(read_file(tmp_path / "none.parquet")) == []


def test_labels_of_several_batches_keep_their_names(tmp_path):
    log_of(tmp_path, events_of([1], labels=("", "buy")), events_of([2], labels=("click", "like")))
    assert columns_of(joined(read_file(write_file(tmp_path, 0, 2).path)).events)["label"] == ["buy", "like"]
