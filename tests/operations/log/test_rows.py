"""Columns of many records say what each record alone does."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.log.halves import join_halves
from operations.log.rows import Logged, table_of
from operations.log.schema import schema_of
from runtime.log.record import ANSWER, ERROR, HASH, REASONS, REQUEST, WHOLE
from runtime.log.segments import Segment
from tests.runtime.log.made import GOLDEN, HEADER_OF, record

CONTEXT = [("device", "BYTES"), ("hour", "INT64"), ("temperature", "FP32"), ("price", "FP64")]
DEVICES = st.none() | st.sampled_from([b"phone", b"", "wéb".encode(), b"\xff"])
BIG = st.none() | st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(width=32, allow_infinity=False)


def objects(values):
    made = np.empty(len(values), object)
    made[:] = values
    return made


@st.composite
def records(draw, *, is_live):
    """One with its arrays, or refused."""
    number = draw(st.integers(0, 2**63))
    said = {"key": number, "service_us": draw(st.integers(0, 2**32 - 1)), "consumer": draw(st.sampled_from("ab"))}
    if draw(st.integers(0, 4)) == 0:
        return record(number % 7, **said, reason=ERROR, error="slate_size must be from 1 to 20, got 0")
    users, width, size = (draw(st.integers(low, 3)) for low in (1, 0, 0))
    counts = draw(st.lists(st.integers(0, size), min_size=users, max_size=users))

    def some(values, *shape):
        found = draw(st.lists(values, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return objects(found).reshape(shape)

    arrays = {
        "user_key": some(st.integers(0, 255), users, 16).astype(np.uint8),
        "user_row": some(st.integers(-2, 9), users).astype(np.int32),
        "recent": some(st.integers(-2, 9), users, width).astype(np.int32),
        "exclude": np.zeros((users, 0), np.int32),
        "slate_size": some(st.integers(1, 9), users).astype(np.int32),
        "context_device": some(DEVICES, users),
        "context_hour": some(BIG, users),
        "context_temperature": some(NUMBERS, users).astype(np.float32),
        "context_price": some(st.none() | NUMBERS, users),
        "item_rows": some(st.integers(-1, 9), users, size).astype(np.int32),
        "score": some(NUMBERS, users, size).astype(np.float32),
        "num_items": np.array(counts, np.int32),
        "path": some(st.sampled_from([b"history", b"\xff"]), users),
    }
    if is_live:
        for name in ("stream_offset", "state_age_ms", "live_at"):
            arrays[name] = some(st.integers(-1, 2**62), users).astype(np.int64)
        arrays["live_recent"] = some(st.integers(-1, 2**62), users, width).astype(np.int64)
    return record(number % 7, **said, reason=draw(st.sampled_from((HASH, ERROR))), trace="t", arrays=arrays)


def expected(logged):
    """The rows of a request as the schema describes them, value by value."""
    each, header = logged.record, logged.header
    for place in range(each.num_users or 1):
        row = dict.fromkeys(schema_of(header["context"], is_live=header["is_live"]).names) | {
            "request_id": each.request_id, "position": place, "key": each.key, "at": logged.at,
            "slate_key": hashlib.blake2b(f"{each.request_id}\0{place}".encode(), digest_size=16).digest(),
            "at_corrected": logged.is_corrected, "attempt": logged.attempt, "consumer": each.consumer,
            "traceparent": each.trace or None, "service_us": logged.service_us, "batch": each.batch,
            "error": each.error or None, "reason": REASONS[each.reason], "env_id": logged.env_id,
            "weight": 1 / header["share"] if each.reason == HASH else 0.0, "replayable": not each.error,
            **{name: header[name] for name in ("chain_key", "model_version", "layout", "salt_id")},
        }  # fmt: skip
        if each.arrays:
            row |= of_user(each, place, header["is_live"])
        yield row


def of_user(each, place, is_live):
    found = {name: array.array()[place] for name, array in each.arrays.items()}
    device, price, temperature = (found[f"context_{name}"] for name in ("device", "price", "temperature"))
    is_text = device != b"\xff"
    row = {
        "user_key": found["user_key"].tobytes(),
        "user_row": max(int(found["user_row"]), -1),
        "recent": [row for row in found["recent"].tolist() if row != -1],
        "excluded": [],
        "context_device": device.decode() if device is not None and is_text else None,
        "context_hour": found["context_hour"],
        "context_temperature": None if np.isnan(temperature) else float(temperature),
        "context_price": None if price is None or np.isnan(price) else price,
        "item_rows": found["item_rows"].tolist()[: found["num_items"]],
        "scores": found["score"].tolist()[: found["num_items"]],
        "path": found["path"].decode("utf-8", "replace"),
        "replayable": is_text and not (is_live and each.array("stream_offset").max() >= 0),
        **{name: int(found[name]) for name in ("slate_size", "num_items")},
    }
    if is_live:
        row |= {name: int(found[name]) for name in ("stream_offset", "state_age_ms", "live_at")}
        kept = zip(found["live_recent"].tolist(), found["recent"].tolist(), strict=True)
        row["live_recent"] = [name for name, row in kept if row != -1]
    return row


@pytest.mark.parametrize("is_live", [False, True])
@settings(max_examples=60)
@given(data=st.data())
def test_a_table_holds_the_rows_of_each_record(is_live, data):
    header = {**HEADER_OF, "context": CONTEXT, "is_live": is_live}
    found = data.draw(st.lists(records(is_live=is_live), min_size=1, max_size=6))
    logged = [Logged(each, header, "e", 10**18 + at, at == 1, each.service_us, 1 + at) for at, each in enumerate(found)]
    table = table_of(logged)
    table.validate(full=True)
    at = table["at"].cast(pa.int64())
    rows = table.set_column(table.column_names.index("at"), "at", at).to_pylist()
    # A score may be no number.
    assert list(map(repr, rows)) == [repr(row) for each in logged for row in expected(each)]


def halves(*given_halves, **header):
    """A segment of halves, each (kind, users, mono)."""
    made = [
        record(1, kind, mono=mono, arrays={f"of_{kind}": np.full(users, mono, np.int32)})
        for kind, users, mono in given_halves
    ]
    return Segment(GOLDEN, {**HEADER_OF, **header}, made, {}, 0, 0)


def pairs(joined):
    return sorted(
        (int(each.array(f"of_{REQUEST}")[0]), int(each.array(f"of_{ANSWER}")[0])) for each, _, _ in joined.whole
    )


def test_halves_of_one_id_are_paired_by_their_users_and_order():
    asked = halves((REQUEST, 1, 10), (REQUEST, 3, 11), (REQUEST, 1, 12))
    answered = halves((ANSWER, 3, 20), (ANSWER, 1, 22), (ANSWER, 1, 21), (ANSWER, 2, 23))
    joined = join_halves([asked, answered])
    assert pairs(joined) == [(10, 21), (11, 20), (12, 22)]
    assert [each.kind for each, _, _ in joined.whole] == [WHOLE] * 3
    assert [(number, [each.mono for each in left]) for number, left in joined.left.items()] == [(1, [23])]


def test_halves_of_two_servers_are_not_paired():
    here, there = {"host": "here", "boot_id": "1"}, {"host": "there", "boot_id": "2"}
    joined = join_halves(
        [
            halves((REQUEST, 1, 100), **here),
            halves((ANSWER, 1, 101), **here),
            halves((REQUEST, 1, 5), **there),
            halves((ANSWER, 1, 6), **there),
        ]
    )
    assert pairs(joined) == [(5, 6), (100, 101)]
    assert not joined.left
