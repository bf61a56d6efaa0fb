"""Damage to a segment costs the record that it is in."""

from __future__ import annotations

import fcntl
import json

import numpy as np
import pytest

from runtime.log.folder import make_log
from runtime.log.record import COUNTS, FRAMING, HEADER, frame
from runtime.log.segments import adopt, chain_keys, read_segment, ready_segments
from runtime.stream.log.errors import LogError
from tests.runtime.log.made import HEADER_OF, record, segment

ARRAYS = {
    "user_key": np.arange(16, dtype=np.uint8).reshape(1, 16),
    "item_rows": np.array([[7, 3, 9]], np.int32),
    "score": np.array([[0.5, 0.25, 0.125]], np.float32),
    "path": np.array([b"known_user"], object),
}


def whole(number):
    return record(number, arrays=ARRAYS)


def test_a_cut_anywhere_in_the_last_record_leaves_those_before_it(tmp_path):
    path = segment(tmp_path / "a.seg", [whole(1), whole(2)])
    packed = path.read_bytes()
    last = len(whole(2).pack())
    for cut in range(1, last + 1):
        path.write_bytes(packed[: len(packed) - cut])
        found = read_segment(path)
        assert [each.request_id for each in found.records] == ["request-1"]
        assert (found.num_damaged, found.torn_bytes) == (0, last - cut)


def test_a_flipped_bit_costs_one_record_wherever_it_is(tmp_path):
    path = segment(tmp_path / "a.seg", [whole(number) for number in range(4)])
    packed, length = path.read_bytes(), len(whole(2).pack())
    begin = len(packed) - 2 * length
    for place in range(length):
        harmed = bytearray(packed)
        harmed[begin + place] ^= 1 << place % 8
        path.write_bytes(harmed)
        found = read_segment(path)
        assert [each.request_id for each in found.records] == [f"request-{number}" for number in (0, 1, 3)]
        assert (found.num_damaged, found.torn_bytes) == (1, 0)


def test_the_header_at_the_end_stands_in_for_a_damaged_one(tmp_path):
    path = segment(tmp_path / "a.seg", [record(1)])
    packed = bytearray(path.read_bytes() + frame(HEADER, json.dumps({**HEADER_OF}).encode()))
    packed[30] ^= 1
    path.write_bytes(packed)
    found = read_segment(path)
    assert found.header["chain_key"] == "a" * 64
    assert len(found.records) == 1


def test_counts_end_a_segment(tmp_path):
    path = segment(tmp_path / "a.seg", [record(1)])
    path.write_bytes(path.read_bytes() + frame(COUNTS, b'{"written": 1}'))
    assert read_segment(path).counts == {"written": 1}


def test_a_segment_of_a_later_release_is_refused(tmp_path):
    (tmp_path / "a.seg").write_bytes(FRAMING.pack((2, HEADER), b"{}"))
    with pytest.raises(LogError, match="has format version 2, this release reads 1: update"):
        read_segment(tmp_path / "a.seg")


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"no segment at all"])
def test_a_file_that_is_no_segment_holds_nothing(tmp_path, content):
    (tmp_path / "a.seg").write_bytes(content)
    found = read_segment(tmp_path / "a.seg")
    assert (found.header, found.records, found.torn_bytes) == ({}, [], len(content))


def test_only_segments_whose_writer_has_ended_are_adopted(tmp_path):
    make_log(tmp_path)
    for name in ("left", "held"):
        segment(tmp_path / f"open/{name}.open", [record(1)])
    with (tmp_path / "open/held.open").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [path.name for path in adopt(tmp_path)] == ["left.seg"]
        assert [path.name for path in ready_segments(tmp_path)] == ["left.seg"]
    assert chain_keys(tmp_path) == {"a" * 64}
