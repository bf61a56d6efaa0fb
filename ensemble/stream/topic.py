"""A topic on Kafka, or what speaks its protocol, as one of a group of workers reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ensemble.stream.messages import Message
from runtime.stream.topic_url import TopicUrl
from workflows.core import console
from workflows.core.errors import ConfigError, ServingError

__all__ = ["Topic"]

TIMEOUT_S = 10.0
# What a worker decides for itself: it goes on where the state is, whatever the group has written down.
OURS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "statistics.interval.ms": 500,
}
# What a URL may set otherwise: a worker that was killed gives its partitions back after this long.
# Of what librdkafka would write on standard error at every try, `poll` raises what matters.
USUAL = {"session.timeout.ms": 10_000, "fetch.wait.max.ms": 200, "log_level": 0}
# From so many messages on a worker is behind, and waits so long for more of them.
MUCH, FILL_S = 256, 0.05
# How old the end of a partition may be that is known by the last answer of its broker.
SEEN_NS = 1_000_000_000


class Topic:
    """A consumer of a topic.

    Args:
        url: of the topic.
        group: of the workers.
        assigned: is told which partitions are this worker's from now on, with the first and next offset of each, and
            says at which offset each is read on.

    Raises:
        ServingError: no broker answers, or there is no such topic.
        ConfigError: an option is none of librdkafka.

    Attributes:
        num_partitions: of the topic.
        is_away: whether no broker has answered since all of them were found to be away.
        ends: by partition, its next offset and the instant at which that was so; of those whose broker answers.
    """

    def __init__(
        self, url: TopicUrl, group: str, assigned: Callable[[Mapping[int, tuple[int, int]]], Mapping[int, int]]
    ) -> None:
        import confluent_kafka

        self._kafka: Any = confluent_kafka
        self._url, self._assigned = url, assigned
        self._said, self.is_away = "", False
        self.ends: dict[int, tuple[int, int]] = {}
        settings = {"bootstrap.servers": url.brokers, "group.id": group, **OURS}
        settings |= {"error_cb": self._remember, "stats_cb": self._learn}
        try:
            self._consumer: Any = confluent_kafka.Consumer({**USUAL, **settings, **url.options}, logger=None)
        except confluent_kafka.KafkaException as error:
            raise ConfigError(f"{url.shown} cannot be read: {_words(error)}") from None
        self.num_partitions = self._count_partitions()
        self._failure: Exception | None = None
        self._consumer.subscribe([url.topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def poll(self, most: int, timeout_s: float) -> tuple[dict[int, list[Message]], dict[int, int]]:
        """What has come: messages by partition, in order, and partitions whose end has been reached, with that offset.

        Raises:
            ServingError: the topic cannot be read any more.
        """
        first = self._consumer.poll(timeout_s)
        found = [] if first is None else [first, *self._more(most - 1)]
        if self._failure is not None:
            raise self._failure
        messages: dict[int, list[Message]] = {}
        ends: dict[int, int] = {}
        for message in found:
            if (error := message.error()) is None:
                own = Message(message.offset(), message.timestamp()[1], message.key(), message.value())
                messages.setdefault(message.partition(), []).append(own)
            elif error.code() == self._kafka.KafkaError._PARTITION_EOF:
                ends[message.partition()] = message.offset()
            elif error.fatal() or error.code() in self._for_good():
                raise ServingError(f"{self._url.shown} cannot be read any more: {error.str()}")
        return messages, ends

    def _more(self, most: int) -> list[Any]:
        """What is there already; where that is much, more of it is on its way, and one large commit costs less."""
        if most < 1:
            return []
        found = list(self._consumer.consume(most, 0))
        if MUCH <= len(found) < most:
            found += self._consumer.consume(most - len(found), FILL_S)
        return found

    def first_offset(self, partition: int) -> int:
        """The first one that a partition still has.

        Raises:
            ServingError: its broker does not answer.
        """
        try:
            return int(self._consumer.get_watermark_offsets(self._place(partition), timeout=TIMEOUT_S)[0])
        except self._kafka.KafkaException as error:
            raise ServingError(f"{self._url.shown} cannot be read: {_words(error)}") from None

    def seek(self, partition: int, offset: int) -> None:
        """Read on there."""
        self._consumer.seek(self._place(partition, offset))

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group how far its partitions are; for those who look at it, the state decides."""
        places = [self._place(partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except self._kafka.KafkaException:
            return

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _count_partitions(self) -> int:
        try:
            found = self._consumer.list_topics(self._url.topic, timeout=TIMEOUT_S).topics[self._url.topic]
        except self._kafka.KafkaException as error:
            self._consumer.poll(0)
            raise ServingError(f"no broker of {self._url.shown} answers: {self._said or _words(error)}") from None
        if found.error is not None or not found.partitions:
            why = found.error.str() if found.error is not None else "it has no partitions"
            raise ServingError(f"{self._url.shown} cannot be read: {why}; make the topic first")
        return len(found.partitions)

    def _on_assign(self, _: Any, places: Sequence[Any]) -> None:
        try:
            bounds = {}
            for place in places:
                low, high = self._consumer.get_watermark_offsets(self._place(place.partition), timeout=TIMEOUT_S)
                bounds[place.partition] = (low, high)
            starts = self._assigned(bounds)
            self._consumer.assign([self._place(partition, offset) for partition, offset in starts.items()])
        except self._kafka.KafkaException as error:
            self._failure = ServingError(f"{self._url.shown} cannot be read: {_words(error)}")
        except Exception as error:  # which librdkafka would swallow
            self._failure = error

    def _on_revoke(self, _: Any, places: Sequence[Any]) -> None:
        self._assigned({})
        self._consumer.unassign()

    def _remember(self, error: Any) -> None:
        self._said = error.str()
        if error.code() == self._kafka.KafkaError._ALL_BROKERS_DOWN and not self.is_away:
            self.is_away = True
            console.say(f"stream run: no broker of {self._url.shown} answers; goes on when one does")

    def _learn(self, statistics: str) -> None:
        """The ends of partitions, from what librdkafka knows of them."""
        found = json.loads(statistics)
        up = {broker["nodeid"] for broker in found["brokers"].values() if broker["state"] == "UP"}
        self.is_away = self.is_away and not up
        partitions = found["topics"].get(self._url.topic, {}).get("partitions", {}).values()
        ends = {each["partition"]: each["hi_offset"] for each in partitions if each["leader"] in up}
        at = time.time_ns() - SEEN_NS
        self.ends = {partition: (end, at) for partition, end in ends.items() if end >= 0}

    def _place(self, partition: int, offset: int = -1001) -> Any:
        return self._kafka.TopicPartition(self._url.topic, partition, offset)

    def _for_good(self) -> set[int]:
        """Errors that no waiting heals."""
        error = self._kafka.KafkaError
        return {error.UNKNOWN_TOPIC_OR_PART, error.TOPIC_AUTHORIZATION_FAILED, error._AUTO_OFFSET_RESET}


def _words(error: Exception) -> str:
    return str(error.args[0].str() if error.args and hasattr(error.args[0], "str") else error)
