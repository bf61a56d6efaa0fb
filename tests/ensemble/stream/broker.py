"""A Kafka broker for tests: the mock cluster of librdkafka, which speaks the protocol on a port of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

PARTITIONS = 4  # what the mock cluster gives a topic


class Broker:
    """A cluster of one, as long as this process lives."""

    def __init__(self) -> None:
        import confluent_kafka

        self._producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "linger.ms": 1})
        (broker,) = self._producer.list_topics(timeout=10).brokers.values()
        self.address = f"{broker.host}:{broker.port}"

    def url(self, topic: str) -> str:
        return f"kafka://{self.address}/{topic}"

    def make(self, topic: str) -> None:
        """A topic is there once it was asked for."""
        import confluent_kafka

        until = 50
        while until and self._producer.list_topics(topic, timeout=5).topics[topic].error is not None:
            until -= 1
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.address, "group.id": "looks"})
        consumer.close()

    def send(self, topic: str, events: Sequence[dict | bytes], partitions: int = PARTITIONS) -> None:
        """Produce events, a user's to one of the first partitions."""
        for event in events:
            raw = isinstance(event, bytes)
            who = "" if raw else str(event.get("user_id", event.get("item_id")))
            value = event if raw else json.dumps(event).encode()
            self._producer.produce(
                topic,
                value,
                who.encode() or None,
                partition=sum(who.encode()) % partitions,
                timestamp=1_700_000_000_000,
            )
            self._producer.poll(0)
        assert self._producer.flush(30) == 0


@contextmanager
def broker() -> Iterator[Broker]:
    yield Broker()
