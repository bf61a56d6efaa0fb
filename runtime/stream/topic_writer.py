"""Events on their way into a topic: acknowledged once its broker has them, each once and a user's in order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import Events
from runtime.stream.fold import NEW
from runtime.stream.spec import StreamSpec
from runtime.stream.topic_events import messages_of
from runtime.stream.topic_url import TopicError, TopicUrl

__all__ = ["TopicWriter", "make_producer"]

NS_PER_MS = 1_000_000
LOOK_S = 1.0
OURS = {"acks": "all", "enable.idempotence": True, "allow.auto.create.topics": False}
# What a URL may set otherwise: after how long an event that no broker has taken must be sent again, and how keys become
# partitions, which all producers of a topic must do alike.
USUAL = {"message.timeout.ms": 5_000, "linger.ms": 1, "log_level": 0, "partitioner": "consistent_random"}


class TopicWriter:
    """What `cascade_events` is where events go to a topic.

    A broker that is away is no fault of this process: it is looked for at every event.

    Args:
        url: of the topic.
        spec: of the stream.

    Raises:
        TopicError: an option is none of librdkafka, or its package is not installed.
    """

    def __init__(self, url: TopicUrl, spec: StreamSpec) -> None:
        self._url, self._spec = url, spec
        self._producer = make_producer(url)

    def accept(self, events: Events, received_at: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """Send events; when this returns the broker has acknowledged all of them.

        After an error nothing is acknowledged. What has reached the topic all the same counts once when its sender
        repeats it with its event id.

        Args:
            events: checked, in order of arrival; at least one.
            received_at: when they arrived, nanoseconds since 1970; it is their time in the topic, rounded up.

        Returns:
            Status int8 [n], 1: whether an event is known already is found out when it is folded. Offsets int64 [n],
            each in the partition of its event.

        Raises:
            TopicError: the topic did not take an event.
        """
        if self._producer is None:
            self._producer = make_producer(self._url)
        sent = _Sent(len(events))
        at_ms = -(-received_at // NS_PER_MS)
        try:
            for place, (key, value) in enumerate(messages_of(events, self._spec)):
                self._producer.produce(self._url.topic, value, key, timestamp=at_ms, on_delivery=sent.told_of(place))
            self._producer.flush()
        except BufferError:
            self._producer.flush()
            sent.why = sent.why or "too many wait for it"
        if sent.why or sent.num_left:
            why = self._why_not(sent.why)
            if sent.is_fatal:
                self._producer = None
            raise TopicError(why)
        return np.full(len(events), NEW, np.int8), sent.offsets

    def close(self) -> None:
        """Everything was sent or refused when `accept` returned."""
        self._producer = None

    def _why_not(self, said: str) -> str:
        """What stands in the way, as far as the brokers say it."""
        shown = self._url.shown
        try:
            found = self._producer.list_topics(self._url.topic, timeout=LOOK_S).topics[self._url.topic]
        except Exception:  # no broker, or one that refuses us
            return f"no broker of {shown} takes events now ({said})"
        if found.error is not None or not found.partitions:
            return f"there is no topic {shown}; make it first"
        return f"{shown} did not take the events ({said})"


class _Sent:
    """What becomes of the events of one commit."""

    def __init__(self, num: int) -> None:
        self.offsets = np.full(num, -1, np.int64)
        self.num_left, self.why, self.is_fatal = num, "", False

    def told_of(self, place: int) -> Any:
        """What librdkafka calls when it knows."""

        def told(error: Any, message: Any) -> None:
            self.num_left -= 1
            if error is None:
                self.offsets[place] = message.offset()
            else:
                self.why, self.is_fatal = error.str(), self.is_fatal or error.fatal()

        return told


def make_producer(url: TopicUrl) -> Any:
    """A producer of a topic; no broker is asked for it.

    Raises:
        TopicError: an option is none of librdkafka, or its package is not installed.
    """
    try:
        import confluent_kafka  # not needed where events are taken in on this machine
    except ImportError:
        raise TopicError(
            f"events go to {url.shown}, and confluent-kafka is not installed: uv pip install '.[kafka]'"
        ) from None
    try:
        return confluent_kafka.Producer({"bootstrap.servers": url.brokers, **OURS, **USUAL, **url.options}, logger=None)
    except confluent_kafka.KafkaException as error:
        said = error.args[0].str() if error.args and hasattr(error.args[0], "str") else error
        raise TopicError(f"{url.shown} cannot be used: {said}") from None
