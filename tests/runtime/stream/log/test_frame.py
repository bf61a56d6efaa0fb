"""A frame is read back as it was written, and no harmed bit passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.stream.events import Events
from runtime.stream.log.errors import LogError
from runtime.stream.log.frame import FRAMING, HEADER_BYTES, Frame, decode, decode_header, encode, is_whole, seal
from tests.runtime.stream.log.made import INTS, batches, columns_of, events_of, same


def read(packed: bytes) -> Frame | None:
    header = decode_header(packed)
    body = packed[HEADER_BYTES:]
    return decode(header, body) if header is not None and is_whole(header, body) else None


@settings(max_examples=120)
@given(events=batches(), first=st.integers(0, 2**62), received_at=INTS)
def test_any_events_are_read_back_as_they_were(events, first, received_at):
    frame = read(encode(Frame.of(events, first, received_at)))
    assert same(frame.events, events)
    assert (frame.first_offset, frame.next_offset, frame.received_at) == (first, first + len(events), received_at)
    assert frame.offsets.tolist() == list(range(first, first + len(events)))


@settings(max_examples=60)
@given(events=batches(min_size=1), data=st.data())
def test_a_frame_with_fewer_events_than_offsets_keeps_their_offsets(events, data):
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events))))
    whole = Frame.of(events, 1000, 5)
    frame = read(encode(whole.take(kept)))
    assert (frame.first_offset, frame.next_offset) == (1000, 1000 + len(events))
    assert frame.offsets.tolist() == (1000 + np.flatnonzero(kept)).tolist()
    assert same(frame.events, events.take(kept))
    start = data.draw(st.integers(999, 1001 + len(events)))
    assert frame.since(start).offsets.tolist() == [offset for offset in frame.offsets if offset >= start]


def test_every_flipped_bit_is_found():
    packed = encode(Frame.of(events_of([b"u", b"v\n"], [b"", b"long" * 80], event_id=[b"x", b""]), 3, 4))
    for place in range(len(packed) * 8):
        harmed = bytearray(packed)
        harmed[place // 8] ^= 1 << place % 8
        assert read(bytes(harmed)) is None, place


def test_a_frame_cut_anywhere_is_not_whole():
    packed = encode(Frame.of(events_of([1, 2, 3]), 3, 4))
    assert all(read(packed[:size]) is None for size in range(len(packed)))


def test_an_event_with_integer_ids_takes_about_30_bytes_in_a_large_batch():
    n = 4096
    assert len(encode(Frame.of(events_of(range(n)), 0, 0))) / n == pytest.approx(30, abs=0.1)


def test_a_seal_is_a_frame_without_offsets():
    header = decode_header(seal(77))
    assert header.is_seal and header.next_offset == 77 and is_whole(header, b"")
    emptied = Frame.of(events_of([1, 2]), 0, 0).take(np.zeros(2, bool))
    assert not decode_header(encode(emptied)).is_seal


def test_frames_of_a_later_release_are_refused():
    fields = list(decode_header(seal(0))[2:])
    fields[4] = 2
    later = FRAMING.pack(tuple(fields))
    with pytest.raises(LogError, match="format version 2, this release reads 1"):
        decode_header(later)


def test_a_joined_frame_knows_its_labels():
    parts = [events_of([1], labels=("", "buy")), events_of([2], labels=("", "click"))]
    frame = read(encode(Frame.of(Events.join(parts), 0, 0)))
    assert columns_of(frame.events)["label"] == ["buy", "click"]
