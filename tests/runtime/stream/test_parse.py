"""Requests of events: each event is taken or refused by itself, and what is taken is exact."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from runtime.errors import BadRequest
from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM
from runtime.stream.keys import MAX_ID_BYTES
from runtime.stream.parse import EventParser, Parsed
from runtime.stream.spec import StreamSpec
from runtime.tensor import Tensor

ARRIVAL = 1_800_000_000 * 10**9
CONTEXT = (Tensor("device", "BYTES"), Tensor("hour", "INT64"), Tensor("heat", "FP64"), Tensor("value", "FP32"))
SPEC = StreamSpec("INT64", "BYTES", ("click", "buy"), stock="in_stock", context=CONTEXT)
NO_INT = -(2**63)


def texts(*values: bytes) -> np.ndarray:
    column = np.empty((len(values), 1), object)
    column[:, 0] = values
    return column


def parse(spec: StreamSpec = SPEC, **request: Any) -> Parsed:
    """A request of lists: of bytes, integers, floats or booleans."""
    dtypes = {int: np.int64, float: np.float32, bool: bool}
    arrays = {
        name: texts(*values) if isinstance(values[0], bytes) else np.array(values, dtypes[type(values[0])])[:, None]
        for name, values in request.items()
    }
    return EventParser(spec).parse(arrays, ARRIVAL)


def test_an_event_that_says_little_is_an_interaction_of_the_first_label_now() -> None:
    parsed = parse(user_id=[2**53 + 1], item_id=[b"a"])
    events = parsed.events
    assert (parsed.reasons, parsed.good().tolist(), parsed.is_ahead.tolist()) == ({}, [0], [False])
    assert events.user.tolist() == [2**53 + 1] and events.user.dtype == np.int64
    assert (events.kind[0], events.labels[events.label[0]], events.value[0]) == (INTERACTION, "click", 1.0)
    assert (events.at[0], events.event_id[0], events.extra[0]) == (ARRIVAL, b"", b"")


@pytest.mark.parametrize(
    ("kind", "label", "expected"),
    [
        (b"", b"buy", (INTERACTION, "buy")),
        (b"interaction", b"", (INTERACTION, "click")),
        (b"", b"impression", (IMPRESSION, "")),
        (b"impression", b"", (IMPRESSION, "")),
        (b"impression", b"impression", (IMPRESSION, "")),
        (b"item", b"", (ITEM, "")),
        (b"forget", b"", (FORGET, "")),
        (b"", b"clik", "unknown label 'clik'; the labels are click, buy, impression"),
        (b"interaction", b"impression", "unknown label 'impression'; the labels are click, buy, impression"),
        (b"user", b"", "unknown kind 'user'; the kinds are interaction, impression, item, forget"),
        (b"item", b"buy", "an event of the kind 'item' has no label, got 'buy'; leave `label` or `kind` out"),
    ],
)
def test_kinds_and_labels(kind: bytes, label: bytes, expected: Any) -> None:
    parsed = parse(
        user_id=[1, 1], item_id=[b"a", b"a"], kind=[kind, b"item"], label=[label, b""], in_stock=[True, True]
    )
    events = parsed.events
    found = parsed.reasons.get(0) or (events.kind[0], events.labels[events.label[0]])
    assert found == expected
    assert parsed.reasons.keys() <= {0}


def test_a_label_that_is_called_impression_is_a_label() -> None:
    parsed = parse(StreamSpec("INT64", "INT64", ("impression",)), user_id=[1], item_id=[2], label=[b"impression"])
    assert (parsed.events.kind[0], parsed.events.label[0], parsed.reasons) == (INTERACTION, 0, {})


def test_each_bad_event_has_its_reason_and_the_good_ones_have_none() -> None:
    long = b"x" * MAX_ID_BYTES
    items = [b"ok", b"\xff", b"a\0b", long + b"x", b"", long, b"n", b"t", "ü".encode()]
    parsed = parse(
        user_id=[1, 2, 3, 4, 5, 6, NO_INT, 8, 9],
        item_id=items,
        value=[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, float("nan"), -2.5],
        at=[b"1774748400", *[b""] * 7, b"tomorrow"],
    )
    assert parsed.good().tolist() == [0, 5]
    assert {place: reason.split(";")[0] for place, reason in parsed.reasons.items()} == {
        1: "item_id '\\\\xff' is not UTF-8",
        2: "item_id 'a\\x00b' holds a null byte",
        3: f"item_id '{'x' * 100}' is {MAX_ID_BYTES + 1} bytes long",
        4: "item_id is missing",
        6: "user_id is missing",
        7: "value nan is no number",
        8: "at 'tomorrow' is no time",
    }


def test_an_item_that_pads_lists_is_none() -> None:
    parsed = parse(StreamSpec("BYTES", "INT64", ("click",)), user_id=[b"007", b"7"], item_id=[-1, 7])
    assert parsed.reasons == {0: "item_id -1 is no item: it fills up lists that are too short"}
    assert parsed.events.user.tolist() == [b"007", b"7"]


def test_stock_is_said_by_item_events_alone() -> None:
    parsed = parse(item_id=[b"a", b"b"], kind=[b"item", b"item"], in_stock=[False, True])
    assert (parsed.reasons, parsed.events.value.tolist(), parsed.events.user.tolist()) == ({}, [0.0, 1.0], [0, 0])
    # Among others, the column is filled for those that say nothing of it.
    mixed = parse(user_id=[NO_INT, 4], item_id=[b"a", b"b"], kind=[b"item", b""], in_stock=[True, False])
    assert (mixed.reasons, mixed.events.value.tolist()) == ({}, [1.0, 1.0])
    assert "to say in_stock of an item, give kind = 'item'" in parse(item_id=[b"a"], in_stock=[False]).reasons[0]
    assert "must say in_stock" in parse(item_id=[b"a"], kind=[b"item"]).reasons[0]
    without = parse(StreamSpec("INT64", "INT64", ("click",)), item_id=[1], kind=[b"item"])
    assert without.reasons[0].startswith("this product has no stock (data.stock names its column)")


def test_a_forgotten_user_needs_no_item() -> None:
    parsed = parse(user_id=[5, NO_INT], kind=[b"forget", b"forget"])
    assert (parsed.good().tolist(), parsed.events.item.tolist()) == ([0], [b"", b""])


def test_what_comes_from_the_future_is_set_to_its_arrival() -> None:
    near, far = ARRIVAL + 4 * 10**9, ARRIVAL + 365 * 24 * 3600 * 10**9
    parsed = parse(user_id=[1, 2], item_id=[b"a", b"a"], at=[str(near).encode(), str(far).encode()])
    assert parsed.events.at.tolist() == [near, ARRIVAL]
    assert (parsed.is_ahead.tolist(), parsed.reasons) == ([False, True], {})


def test_context_and_extra_are_kept_as_one_json_object() -> None:
    given = [b'{"page": "\xc3\xbc", "hour": 1}', b"[1]", b'{"a": NaN}', b"{" * 5000, b"", b'{"value": 3}']
    parsed = parse(
        user_id=[1] * 6,
        item_id=[b"a"] * 6,
        extra=given,
        device=[b"phone", b"", b"", b"", b"", b""],
        hour=[3, NO_INT, NO_INT, NO_INT, NO_INT, NO_INT],
    )
    assert json.loads(parsed.events.extra[0]) == {"page": "ü", "hour": 3, "device": "phone"}
    assert (parsed.events.extra[4], json.loads(parsed.events.extra[5])) == (b"", {"value": 3})
    assert {place: reason[:9] for place, reason in parsed.reasons.items()} == {
        1: "extra '[1",
        2: "extra '{\"",
        3: "extra '{{",
    }


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "at least one event; the fields are user_id, item_id, at"),
        ({"usr": np.zeros((1, 1), np.int64)}, "unknown field 'usr'; the fields are user_id"),
        ({"user_id": np.zeros((1, 1), np.int32)}, r"user_id must be INT64 of the shape \[1, 1\]"),
        ({"user_id": np.zeros((2, 2), np.int64)}, "one row an event, got int64 of the shape"),
        ({"user_id": np.zeros((0, 1), np.int64)}, "user_id must be INT64"),
    ],
)
def test_a_request_that_is_none_is_refused_whole(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        EventParser(SPEC).parse(request_, ARRIVAL)
