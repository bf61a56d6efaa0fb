"""Frames: found whole, told from harmed ones, and where the next one begins."""

from __future__ import annotations

import pytest

from runtime.frames import Framing

FRAMING = Framing(b"\xffTE\xfe", "HB")


def test_a_frame_is_its_header_and_its_body():
    packed = FRAMING.pack((300, 7), b"body")
    header = FRAMING.header(packed)
    assert header is not None
    assert header[1:] == (4, 300, 7)
    assert FRAMING.body(packed, 0, header) == b"body"
    assert len(packed) == FRAMING.header_bytes + 4


@pytest.mark.parametrize("body", [b"", b"body"])
def test_no_cut_frame_is_whole(body):
    packed = FRAMING.pack((1, 2), body)
    for length in range(len(packed)):
        header = FRAMING.header(packed[:length])
        assert header is None or FRAMING.body(packed[:length], 0, header) is None


def test_each_flipped_bit_is_found():
    packed = FRAMING.pack((1, 2), b"body")
    for place in range(len(packed)):
        harmed = bytearray(packed)
        harmed[place] ^= 1
        header = FRAMING.header(bytes(harmed))
        assert header is None or FRAMING.body(bytes(harmed), 0, header) is None


def test_the_next_frame_is_found_behind_harm_and_behind_what_looks_like_one():
    first, second = FRAMING.pack((1, 2), b"\xffTE\xfe in a body"), FRAMING.pack((3, 4))
    packed = first[:-1] + b"?" + b"\xffTE\xfe" + second
    assert FRAMING.next_whole(packed, 0) == len(first) + 4
    assert FRAMING.next_whole(packed[:-1], 0) == -1
