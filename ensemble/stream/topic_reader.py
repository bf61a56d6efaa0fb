"""A topic as those read it who belong to no group of workers: what it has now, from one offset to another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ensemble.stream.messages import Message
from runtime.stream.topic_url import TopicUrl
from workflows.core.errors import ConfigError, ServingError

__all__ = ["TopicReader"]

TIMEOUT_S, IDLE_S = 10.0, 30.0
AT_ONCE = 4096
# Nobody's offsets are looked at or written down.
OURS = {
    "group.id": "cascade-reads",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "log_level": 0,
}


class TopicReader:
    """Reads ranges of partitions.

    Args:
        url: of the topic.

    Raises:
        ServingError: no broker answers, or there is no such topic.
        ConfigError: an option is none of librdkafka.

    Attributes:
        num_partitions: of the topic.
    """

    def __init__(self, url: TopicUrl) -> None:
        import confluent_kafka

        self._kafka: Any = confluent_kafka
        self._url, self._said = url, ""
        settings = {"bootstrap.servers": url.brokers, **url.options, **OURS, "error_cb": self._remember}
        try:
            self._consumer: Any = confluent_kafka.Consumer(settings, logger=None)
        except confluent_kafka.KafkaException as error:
            raise ConfigError(f"{url.shown} cannot be read: {words(error)}") from None
        try:
            found = self._consumer.list_topics(url.topic, timeout=TIMEOUT_S).topics[url.topic]
        except confluent_kafka.KafkaException as error:
            self._consumer.poll(0)
            raise ServingError(f"no broker of {url.shown} answers: {self._said or words(error)}") from None
        if found.error is not None or not found.partitions:
            why = found.error.str() if found.error is not None else "it has no partitions"
            raise ServingError(f"{url.shown} cannot be read: {why}; make the topic first")
        self.num_partitions = len(found.partitions)

    def bounds(self) -> list[tuple[int, int]]:
        """By partition, the first offset that it has and the next one that it will give.

        Raises:
            ServingError: its broker does not answer.
        """
        places = [self._kafka.TopicPartition(self._url.topic, number) for number in range(self.num_partitions)]
        try:
            return [self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S) for place in places]
        except self._kafka.KafkaException as error:
            raise ServingError(f"{self._url.shown} cannot be read: {words(error)}") from None

    def read(self, partition: int, start: int, stop: int) -> Iterator[list[Message]]:
        """The messages of a partition whose offsets lie in a range, some thousand at a time.

        Raises:
            ServingError: they cannot be read, or nothing comes for half a minute.
        """
        if start >= stop:
            return
        self._consumer.assign([self._kafka.TopicPartition(self._url.topic, partition, start)])
        until, at = time.monotonic() + IDLE_S, start
        try:
            while at < stop:
                messages = []
                for message in self._consumer.consume(AT_ONCE, 0.5):
                    if (error := message.error()) is None:
                        at = message.offset() + 1
                        messages.append(message)
                    elif error.code() == self._kafka.KafkaError._PARTITION_EOF:
                        at = max(at, message.offset())
                    else:
                        raise ServingError(f"{self._url.shown} cannot be read: {error.str()}")
                if time.monotonic() > until:
                    raise ServingError(
                        f"partition {partition} of {self._url.shown} stays silent at offset {at}, and should have the "
                        f"messages below {stop}; {self._said or 'see whether its broker is up'}"
                    )
                if messages:
                    until = time.monotonic() + IDLE_S
                    own = [Message(each.offset(), each.timestamp()[1], each.key(), each.value()) for each in messages]
                    yield [message for message in own if message.offset < stop]
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Give the connections back."""
        self._consumer.close()

    def _remember(self, error: Any) -> None:
        self._said = error.str()


def words(error: Exception) -> str:
    """What librdkafka says."""
    return str(error.args[0].str() if error.args and hasattr(error.args[0], "str") else error)
