"""Events that a server takes in for a topic: what a worker reads of them is what was checked, and nothing is lost."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ensemble.stream.messages import Message, MessageReader, Read
from runtime.stream import topic_writer
from runtime.stream.events import Events
from runtime.stream.parse import EventParser
from runtime.stream.spec import StreamSpec
from runtime.stream.topic_events import messages_of
from runtime.stream.topic_url import TopicError, read_topic_url
from runtime.stream.topic_writer import TopicWriter
from runtime.tensor import Tensor
from tests.ensemble.stream.broker import Broker

NOW = 1_700_000_000_123_456_789
LABELS = ("click", "buy", "impression")
CHOICES: dict[str, list] = {
    "at": [b"", b"", b"5", b"1970-01-01T00:00:00.000000007Z", b"1700000000123456789", b"2023-11-14T22:13:24+00:00"],
    "label": [b"", b"click", b"buy", b"impression"],
    "kind": [b"", b"", b"", b"interaction", b"impression", b"item", b"forget"],
    "event_id": [b"", b"a", '"ä\\'.encode()],
    "extra": [b"", b"", b'{"page": "home", "n": [1, 2.5, null]}', '{"ü": "ß"}'.encode()],
}


def spec_of(*, text: bool = False, stock: str = "in_stock") -> StreamSpec:
    kind = "BYTES" if text else "INT64"
    return StreamSpec(kind, kind, LABELS, stock, context=(Tensor("device", "BYTES"), Tensor("hour", "INT64")))


def parsed(spec: StreamSpec, num: int, seed: int) -> Events:
    """Good events of all kinds, as a server takes them in."""
    rng, text = random.Random(seed), spec.user_id_dtype == "BYTES"
    ids = ["a", "ü", "007", "7", '"'] if text else [0, -5, 2**53 + 1, 2**62]

    def column(values: list, dtype: type) -> np.ndarray:
        return np.array([rng.choice(values) for _ in range(num)], dtype).reshape(-1, 1)

    raw = [value.encode() if isinstance(value, str) else value for value in ids]
    request = {name: column(values, object) for name, values in CHOICES.items()}
    request |= {name: column(raw, object if text else np.int64) for name in ("user_id", "item_id")}
    request |= {"value": column([1.0, 0.1, 0.0, -3e30], np.float32), "device": column([b"", b"phone"], object)}
    request["hour"] = column([3, np.iinfo(np.int64).min], np.int64)
    if spec.stock:
        request[spec.stock] = column([True, False], bool)
    found = EventParser(spec).parse(request, NOW)
    return found.events.take(found.good())


@pytest.mark.parametrize("text", [False, True])
def test_a_message_says_to_a_worker_exactly_what_was_checked(text):
    spec = spec_of(text=text)
    events = parsed(spec, 3_000, seed=5)
    assert len(events) > 1_000 and set(events.kind.tolist()) == {0, 1, 2, 3}
    at_ms = -(-NOW // 10**6)
    pairs = list(messages_of(events, spec))
    messages = [Message(place, at_ms, key, value) for place, (key, value) in enumerate(pairs)]
    found = MessageReader(spec).read(0, messages)
    assert isinstance(found, Read) and not found.rejected, found
    assert found.offsets.tolist() == list(range(len(events)))
    names = [events.labels[label] for label in events.label.tolist()]
    assert [found.events.labels[label] for label in found.events.label.tolist()] == names
    for name in ("kind", "user", "item", "at", "value", "event_id", "extra"):
        assert getattr(found.events, name).tolist() == getattr(events, name).tolist(), name


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.mark.service("kafka")
def test_what_is_acknowledged_is_in_the_topic_a_users_in_order(broker):
    broker.make("written")
    spec = spec_of()
    writer = TopicWriter(read_topic_url(broker.url("written")), spec)
    events = [parsed(spec, 300, seed) for seed in range(3)]
    offsets = []
    for part in events:
        status, found = writer.accept(part, NOW)
        assert status.tolist() == [1] * len(part)
        offsets += found.tolist()
    messages = broker.read("written", len(offsets))
    expected = [pair for part in events for pair in messages_of(part, spec)]
    places = {}
    for (key, value), offset in zip(expected, offsets, strict=True):
        partition = next(number for number, own in messages.items() if (offset, key, value) in own)
        assert places.setdefault(key, (partition, -1))[0] == partition and places[key][1] < offset
        places[key] = partition, offset
    assert len({partition for partition, _ in places.values()}) > 1
    writer.close()


@pytest.mark.service("kafka")
def test_a_broker_that_is_away_and_a_topic_that_is_not_there_refuse_and_say_so(broker, monkeypatch):
    # Who did not read the URL's own would wait for an hour.
    monkeypatch.setitem(topic_writer.USUAL, "message.timeout.ms", 3_600_000)
    events = parsed(spec_of(), 5, seed=1)
    quick = "message.timeout.ms=300&sasl.password=geheim"
    writer = TopicWriter(read_topic_url(f"kafka://127.0.0.1:1/clicks?{quick}"), spec_of())
    for _ in range(2):
        with pytest.raises(TopicError, match=r"no broker of kafka://127\.0\.0\.1:1/clicks takes events now") as caught:
            writer.accept(events, NOW)
        assert "geheim" not in str(caught.value)
    with pytest.raises(TopicError, match=r"kafka://b/t cannot be used: .*colour"):
        TopicWriter(read_topic_url("kafka://b/t?colour=red"), spec_of())


@pytest.mark.service("kafka")
def test_producers_and_workers_take_the_same_url(broker):
    broker.make("options")
    url = read_topic_url(f"{broker.url('options')}?session.timeout.ms=4000&partitioner=murmur2_random&group=g")
    writer = TopicWriter(url, spec_of())
    writer.accept(parsed(spec_of(), 20, seed=2), NOW)
    with pytest.raises(TopicError, match=r"may not set enable\.idempotence"):
        read_topic_url("kafka://b/t?enable.idempotence=false")
