"""Records come back from their frames as they went in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.log.record import ANSWER, FRAMING, WHOLE, Record
from tests.runtime.log.made import record

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20) | st.floats(allow_nan=False)


def again(given_record: Record) -> Record:
    packed = given_record.pack()
    header = FRAMING.header(packed)
    assert header is not None
    body = FRAMING.body(packed, 0, header)
    assert body is not None
    return Record.unpack(header[3], body)


def test_numbers_texts_and_arrays_come_back():
    arrays = {
        "user_row": np.array([3, -2], np.int32),
        "score": np.array([[0.5, 1e-45], [np.nan, -0.0]], np.float32),
        "temperature": np.array([1.5, np.nan]),
        "at": np.array([2**62, -1]),
        "user_key": np.arange(32, dtype=np.uint8).reshape(2, 16),
        "empty": np.zeros((2, 0), np.int32),
    }
    found = again(record(7, ANSWER, consumer="wéb", trace="00-1", error="no", arrays=arrays))
    assert (found.kind, found.request_id, found.consumer, found.trace, found.error) == (
        *(ANSWER, "request-7", "wéb", "00-1", "no"),
    )
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.array(name).dtype == array.dtype
        assert found.array(name).shape == array.shape
        assert found.array(name).tobytes() == array.tobytes()


@given(st.lists(VALUES, max_size=5))
def test_objects_come_back(values):
    array = np.empty(len(values), object)
    array[:] = values
    assert again(record(arrays={"device": array})).array("device").tolist() == values


def test_long_text_is_cut_and_large_numbers_are_held():
    found = again(record(request_id="x" * 100_000, service_us=1 << 40, batch=1 << 20))
    assert (len(found.request_id), found.service_us, found.batch) == (4096, (1 << 32) - 1, (1 << 16) - 1)


def test_text_that_is_no_unicode_is_written_all_the_same():
    assert again(record(consumer="\ud800", kind=WHOLE)).consumer == "?"
