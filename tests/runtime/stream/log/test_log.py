"""The log in one process: offsets, segments, what is cut off and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.stream.events import Events
from runtime.stream.log.errors import CompactedError, LogError
from runtime.stream.log.frame import HEADER_BYTES, Frame
from runtime.stream.log.log import EventLog
from runtime.stream.log.reader import first_offset, log_id, next_offset, read_log
from runtime.stream.log.segments import list_segments
from tests.runtime.stream.log.made import batches, events_of, same


def opened(folder: Path, segment_bytes: int = 1 << 20, sync: bool = False) -> EventLog:
    return EventLog(folder, sync=sync, segment_bytes=segment_bytes)


def write(folder: Path, *batches, segment_bytes: int = 1 << 20) -> int:
    """Write one frame each; the next offset."""
    log = opened(folder, segment_bytes)
    for number, users in enumerate(batches):
        log.append(events_of(users), number)
    log.close()
    return log.next_offset


def users_of(folder: Path, start: int = 0) -> list[int]:
    return [user for frame in read_log(folder, start) for user in frame.events.user.tolist()]


def last(folder: Path) -> Path:
    return list_segments(folder)[-1].path


@settings(max_examples=40)
@given(parts=st.lists(batches(max_size=6), max_size=8), segment_bytes=st.integers(1, 600), start=st.integers(0, 50))
def test_what_was_appended_is_read_from_any_offset_on(tmp_path_factory, parts, segment_bytes, start):
    folder = tmp_path_factory.mktemp("events")
    offsets, frames = [], []
    for number, events in enumerate(parts):
        # Opened anew for every batch: nothing depends on what a process remembers.
        log = opened(folder, segment_bytes)
        first = log.append(events, number)
        if len(events):
            frames.append(Frame.of(events, first, number))
        offsets += range(first, log.next_offset)
        log.close()
    assert offsets == list(range(sum(map(len, parts))))
    found = list(read_log(folder, start))
    expected = [frame.since(start) for frame in frames if frame.next_offset > start]
    assert [(f.first_offset, f.received_at) for f in found] == [(f.first_offset, f.received_at) for f in expected]
    assert all(same(a.events, b.events) for a, b in zip(found, expected, strict=True))


def test_a_segment_begins_at_its_size_and_is_named_by_its_first_offset(tmp_path):
    write(tmp_path, *[[n] * 10 for n in range(6)], segment_bytes=600)
    names = sorted(path.name for path in (tmp_path / "log").glob("*.log"))
    assert names == [f"{offset:020d}.log" for offset in (0, 20, 40)]
    assert users_of(tmp_path, 15) == [1] * 5 + [n for n in range(2, 6) for _ in range(10)]


def test_a_log_that_is_not_there_has_no_frames_and_its_first_offset_is_0(tmp_path):
    assert list(read_log(tmp_path / "events")) == []
    assert first_offset(tmp_path / "events") == 0
    log = opened(tmp_path / "events")
    assert (log.next_offset, log.append(events_of([]), 0)) == (0, 0)
    log.close()


def test_a_torn_frame_is_cut_off_at_every_byte(tmp_path):
    write(tmp_path, [1, 2], [3])
    path = last(tmp_path)
    whole = path.read_bytes()
    write(tmp_path, [4, 5, 6])
    longer = path.read_bytes()
    for size in range(len(whole), len(longer)):
        path.write_bytes(longer[:size])
        assert users_of(tmp_path) == [1, 2, 3]
        log = opened(tmp_path)
        assert (log.next_offset, log.num_cut_bytes) == (3, size - len(whole))
        log.append(events_of([7]), 0)
        log.close()
        assert users_of(tmp_path) == [1, 2, 3, 7]


@pytest.mark.parametrize("tail", [bytes(300), b"\xffEV\xfe" * 30], ids=["zeros", "magic"])
def test_a_tail_that_never_reached_the_disk_is_cut_off(tmp_path, tail):
    write(tmp_path, [1, 2])
    with last(tmp_path).open("ab") as file:
        file.write(tail)
    log = opened(tmp_path)
    assert (log.next_offset, log.num_cut_bytes) == (2, len(tail))
    log.close()


def test_flipped_bits_in_front_of_a_good_frame_are_refused_with_file_and_byte(tmp_path):
    write(tmp_path, [1], [2], [3])
    path = last(tmp_path)
    whole = path.read_bytes()
    size = len(whole) // 3
    for place in range(size * 8, 2 * size * 8, 3):
        harmed = bytearray(whole)
        harmed[place // 8] ^= 1 << place % 8
        path.write_bytes(harmed)
        expected = f"{path} is damaged at byte {size}, with events behind it; .*truncate -s {size} "
        with pytest.raises(LogError, match=expected):
            opened(tmp_path)
        with pytest.raises(LogError, match=expected):
            users_of(tmp_path)
    # The way out that the sentence names.
    os.truncate(path, size)
    assert write(tmp_path, [9]) == 2
    assert users_of(tmp_path) == [1, 9]


def test_flipped_bits_of_a_sealed_segment_are_found_by_readers(tmp_path):
    write(tmp_path, [1], [2], [3], segment_bytes=100)
    path = list_segments(tmp_path)[0].path
    whole = path.read_bytes()
    for place in range(0, len(whole) * 8, 3):
        harmed = bytearray(whole)
        harmed[place // 8] ^= 1 << place % 8
        path.write_bytes(harmed)
        with pytest.raises(LogError, match=f"{path} is damaged at byte"):
            users_of(tmp_path)


@pytest.mark.parametrize("size", [0, 10, 97, 97 + HEADER_BYTES - 1])
def test_a_sealed_segment_that_was_cut_is_refused(tmp_path, size):
    write(tmp_path, [1], [2], [3], segment_bytes=100)
    path = list_segments(tmp_path)[0].path
    os.truncate(path, size)
    for use in (opened, users_of):
        with pytest.raises(LogError, match=f"{path} is damaged at byte"):
            use(tmp_path)


def test_a_segment_that_is_missing_is_refused(tmp_path):
    write(tmp_path, [1], [2], [3], [4], segment_bytes=1)
    segments = list_segments(tmp_path)
    segments[1].path.unlink()
    for use in (opened, users_of):
        with pytest.raises(LogError, match=f"the log lacks the events 1 to 1, between .* and {segments[2].path}"):
            use(tmp_path)


def test_a_log_whose_first_segments_are_gone_is_read_from_there_on(tmp_path):
    write(tmp_path, [1], [2], [3], segment_bytes=1)
    list_segments(tmp_path)[0].path.unlink()
    assert first_offset(tmp_path) == 1
    assert users_of(tmp_path, 1) == [2, 3]
    with pytest.raises(CompactedError, match=f"the log in {tmp_path} begins with event 1, expected 0"):
        users_of(tmp_path)


def test_a_strange_file_between_the_segments_is_refused(tmp_path):
    write(tmp_path, [1])
    (tmp_path / "log" / "copy.log").touch()
    with pytest.raises(LogError, match=r"copy\.log is no segment of the log"):
        opened(tmp_path)
    (tmp_path / "log" / "copy.log").rename(tmp_path / "log" / "copy.log.old")
    assert users_of(tmp_path) == [1]


def test_a_writer_that_ended_between_the_seal_and_the_next_segment_goes_on(tmp_path):
    write(tmp_path, [1], [2], segment_bytes=1)
    list_segments(tmp_path)[1].path.unlink()
    assert users_of(tmp_path) == [1]
    assert write(tmp_path, [2], segment_bytes=1) == 2
    assert users_of(tmp_path) == [1, 2]
    assert len(list_segments(tmp_path)) == 2


def test_a_log_keeps_its_id_and_no_other_has_it(tmp_path):
    found = []
    for name in ("one", "one", "two"):
        write(tmp_path / name, [1])
        found.append(log_id(tmp_path / name))
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 32
    assert log_id(tmp_path) == ""


def test_the_end_of_a_log_is_known_without_reading_all_of_it(tmp_path):
    assert next_offset(tmp_path) == 0
    for number in range(3):
        assert write(tmp_path, [1, 2], segment_bytes=1) == next_offset(tmp_path) == 2 * number + 2


def test_sealing_ends_the_segment_once(tmp_path):
    log = opened(tmp_path)
    log.append(events_of([1]), 0)
    log.seal()
    log.seal()
    assert [segment.first_offset for segment in list_segments(tmp_path)] == [0, 1]
    log.append(events_of([2]), 0)
    log.close()
    assert users_of(tmp_path) == [1, 2]


def test_a_second_writer_is_refused_and_gets_in_when_the_first_has_left(tmp_path):
    first = opened(tmp_path)
    with pytest.raises(LogError, match=f"{tmp_path} is being written by process {os.getpid()}; only one"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_a_refused_opening_gives_the_lock_back(tmp_path):
    write(tmp_path, [1], [2])
    path = last(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"?" + whole[1:])
    with pytest.raises(LogError, match="is damaged at byte 0"):
        opened(tmp_path)
    path.write_bytes(whole)
    opened(tmp_path).close()


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="file/lock cannot be made"):
        opened(tmp_path / "file")
    with pytest.raises(LogError, match="cannot be read"):
        list(read_log(tmp_path / "file"))


def test_after_a_failed_sync_nothing_is_taken_in_until_it_is_opened_again(tmp_path, monkeypatch):
    log = opened(tmp_path, sync=True)
    log.append(events_of([1]), 0)

    def failing(handle):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:  # no disk here can be made to fail
        patched.setattr(os, "fdatasync", failing)
        with pytest.raises(LogError, match="did not reach the disk"):
            log.append(events_of([2]), 0)
    with pytest.raises(LogError, match="until the log is opened again"):
        log.append(events_of([3]), 0)
    log.close()
    assert users_of(tmp_path) == [1]
    assert write(tmp_path, [4]) == 2


def test_a_reader_sees_every_append_at_once(tmp_path):
    log = opened(tmp_path, segment_bytes=150)
    for number in range(20):
        log.append(events_of([number]), 0)
        assert users_of(tmp_path, number) == [number]
    log.close()
    assert isinstance(next(iter(read_log(tmp_path))).events, Events)
