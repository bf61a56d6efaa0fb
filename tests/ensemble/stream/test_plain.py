"""Messages that are read many at once: what comes of them is what comes of each, whatever they hold."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from ensemble.stream.messages import Message, MessageReader, Read
from runtime.stream.fields import FIELDS
from runtime.stream.spec import StreamSpec

NUMBERS = StreamSpec("INT64", "INT64", ("click", "buy"), "in_stock")
TEXTS = StreamSpec("BYTES", "BYTES", ("click", "impression"))
NUMBER_IDS = [1, 7, 2**53 + 1, -5, 0, -1, 2**63 - 1, -(2**63), 2**63, 2**70, 1.0, True, None, "1", "x", [1], {}]
TEXT_IDS = ["a", "ü", "007", "7", "", "a\nb", "\0", "x" * 121, "x" * 481, "ü" * 300, "\ud800", 7, None, True]
CHOICES: dict[str, list] = {
    "at": [
        *(1_700_000_000, 1_700_000_000_123, 0, 10**11, 10**14 - 1, 10**17, 10**18, 9 * 10**18, 10**19, -1, 1.5, True),
        *(None, "", "1700000000", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "x", "\0", "9" * 600),
    ],
    "label": ["click", "buy", "impression", "", None, "hover", 3],
    "kind": ["interaction", "impression", "", None, "item", "forget", "x"],
    "value": [1, 0, 2.5, 0.1, -3e30, 1e39, 2**60 + 1, 2**64, 10**400, None, "x", True],
    "event_id": ["a", "", "ü", 7, -1, 2**70, None, 1.5, True, "x" * 121, "x" * 500, "\0", "\ud800"],
}
# How often a field is at all, and how often it may hold anything that it can.
PRESENT, ODD = 0.5, 0.02
ODDITIES = [
    b"",
    b"[1]",
    b"{",
    b'{"user_id": 1, "user_id": 7, "item_id": 1}',
    b'{"user_id":1,"item_id":1,"x":1}',
    b"\xff",
]


def message(rng: random.Random, ids: list, offset: int) -> Message:
    said = {name: ids[0] if rng.random() > ODD else rng.choice(ids) for name in ("user_id", "item_id")}
    for name, values in CHOICES.items():
        if rng.random() < PRESENT:
            said[name] = rng.choice(values) if rng.random() < ODD else rng.choice(values[:2])
    value = json.dumps(said, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    key = str(said["user_id"]).encode("utf-8", "surrogatepass")
    if rng.random() < ODD:
        value = rng.choice(ODDITIES)
    if rng.random() < ODD / 4:
        key = rng.choice([b"", b"other", None])  # type: ignore[assignment]
    return Message(offset, rng.choice([1_700_000_000_000, 1_700_000_000_500]), key, value)


@pytest.mark.parametrize(("spec", "ids"), [(NUMBERS, NUMBER_IDS), (TEXTS, TEXT_IDS)])
def test_it_says_what_each_message_says(spec, ids):
    rng = random.Random(3)
    fast, slow = MessageReader(spec), MessageReader(spec)
    slow.read = slow._read_each  # type: ignore[method-assign]
    num_plain = num_odd = 0
    for _ in range(600):
        rng.shuffle(ids)
        messages = [message(rng, ids, offset) for offset in range(rng.choice([1, 2, 5, 5, 40]))]
        times = np.array([each.at_ms for each in messages]) * 10**6
        is_plain = fast._plain.read([m.key for m in messages], [m.value for m in messages], times) is not None
        num_plain, num_odd = num_plain + is_plain, num_odd + (not is_plain)
        found, expected = fast.read(2, messages), slow.read(2, messages)
        assert isinstance(found, Read) == isinstance(expected, Read), messages
        if not isinstance(found, Read) or not isinstance(expected, Read):
            assert found == expected
            continue
        assert (found.rejected, found.offsets.tolist()) == (expected.rejected, expected.offsets.tolist()), messages
        ours, theirs = ([e.labels[label] for e in (each.events,) for label in e.label] for each in (found, expected))
        assert ours == theirs
        for name in ("kind", "user", "item", "at", "value", "event_id", "extra"):
            ours, theirs = getattr(found.events, name), getattr(expected.events, name)
            assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist()), (name, messages)
    assert num_plain > 50 and num_odd > 50


def test_the_usual_message_is_plain():
    said = {"user_id": 17, "item_id": 5, "label": "click", "at": 1_700_000_000, "event_id": "a1"}
    assert said.keys() <= set(FIELDS)
    reader = MessageReader(NUMBERS)
    for event in (said, {"user_id": 17, "item_id": 5}, said | {"value": 2.5, "at": "2026-03-29T02:30:00Z"}):
        value = json.dumps(event).encode()
        assert reader._plain.read([b"17"], [value], np.array([10**18])) is not None
        assert reader._plain.read([b"18"], [value], np.array([10**18])) is None
        assert reader._plain.read([None], [value], np.array([10**18])) is None
        assert reader._plain.read([b"17"], [None], np.array([10**18])) is None
