"""A Kafka broker for tests: the mock cluster of librdkafka, which speaks the protocol on a port of this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence

PARTITIONS = 4  # what the mock cluster gives a topic
AT_MS = 1_700_000_000_000


class Broker:
    """A cluster of one, as long as this process lives."""

    def __init__(self) -> None:
        import confluent_kafka

        self._producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "linger.ms": 1})
        (broker,) = self._producer.list_topics(timeout=60).brokers.values()
        self.address = f"{broker.host}:{broker.port}"

    def url(self, topic: str) -> str:
        return f"kafka://{self.address}/{topic}"

    def make(self, topic: str) -> None:
        """A topic is there once it was asked for."""
        for _ in range(50):
            if self._producer.list_topics(topic, timeout=60).topics[topic].error is None:
                return
        raise AssertionError(f"the topic {topic} was not made")

    def send(self, topic: str, events: Sequence[dict | bytes], partitions: int = PARTITIONS) -> list[tuple]:
        """Produce events, a user's to one of the first partitions.

        Returns:
            The partition of each, and when it came, its key and its value.
        """
        sent: list[tuple] = []
        for event in events:
            raw = isinstance(event, bytes)
            who = b"" if raw else str(event.get("user_id", event.get("item_id"))).encode()
            value, number = (event if raw else json.dumps(event).encode()), sum(who) % partitions
            self._producer.produce(topic, value, who or None, partition=number, timestamp=AT_MS)
            self._producer.poll(0)
            sent.append((number, (AT_MS, who or None, value)))
        assert self._producer.flush(120) == 0
        return sent

    def produce(self, topic: str, event: dict, at_ms: int = AT_MS) -> None:
        """Send an event to the partition that its key says, as librdkafka does; `flush` waits for all of them."""
        self._producer.produce(topic, json.dumps(event).encode(), str(event["user_id"]).encode(), timestamp=at_ms)
        self._producer.poll(0)

    def flush(self) -> None:
        """Until all are there."""
        assert self._producer.flush(120) == 0

    def read(self, topic: str, num: int) -> dict[int, list[tuple[int, bytes | None, bytes | None]]]:
        """The offset, key and value of the first messages of a topic, by partition."""
        import confluent_kafka

        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.address, "group.id": "reads"})
        consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: dict[int, list[tuple[int, bytes | None, bytes | None]]] = {}
        while sum(map(len, found.values())) < num:
            for message in consumer.consume(num, 5):
                assert message.error() is None, message.error()
                own = found.setdefault(message.partition(), [])
                own.append((message.offset(), message.key(), message.value()))
        consumer.close()
        return found
