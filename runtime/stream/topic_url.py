"""Where events come from when it is a topic: the URL that CASCADE_SOURCE holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

__all__ = ["SOURCE_VARIABLE", "TopicError", "TopicUrl", "read_topic_url"]

# What tells the server's processes which topic takes its events.
SOURCE_VARIABLE = "CASCADE_SOURCE"
EXAMPLE = "kafka://broker1:9092,broker2:9092/topic"
HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
# What readers and writers decide for themselves: a reader goes on where the state is, and a writer acknowledges what
# all replicas have, each event once and in order.
OURS = (
    *("enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.partition.eof"),
    *("statistics.interval.ms", "acks", "request.required.acks", "enable.idempotence", "allow.auto.create.topics"),
)


class TopicError(OSError):
    """The topic cannot be used; one sentence, which never holds what may be a password."""


class TopicUrl(NamedTuple):
    """A topic.

    Attributes:
        brokers: host:port, separated by commas.
        topic: its name.
        group: of the workers; "" for the one of the state.
        options: of librdkafka, such as security.protocol; may hold secrets.
    """

    brokers: str
    topic: str
    group: str
    options: Mapping[str, str]

    @property
    def shown(self) -> str:
        """For people: without options."""
        return f"kafka://{self.brokers}/{self.topic}"


def read_topic_url(text: str) -> TopicUrl:
    """Read a URL.

    Raises:
        TopicError: it is none.
    """
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        parts, options = urlsplit(""), {}
    topic, hosts = parts.path.strip("/"), parts.netloc.split(",")
    # What has one of & # in it, such as a password, ends early.
    is_whole = not parts.fragment and all(map(HOST.fullmatch, hosts))
    if parts.scheme != "kafka" or not is_whole or not TOPIC.fullmatch(topic):
        raise TopicError(
            f"the source must name brokers and a topic, such as {EXAMPLE}; passwords are options of librdkafka, such "
            "as ?security.protocol=SASL_SSL&sasl.mechanism=PLAIN&sasl.username=${NAME}&sasl.password=${NAME}, with "
            "& # % + in them as %26 %23 %25 %2B"
        )
    if taken := sorted(options.keys() & set(OURS)):
        raise TopicError(
            f"the source may not set {taken[0]}: a worker goes on where the state is, and what is sent is acknowledged "
            "when all replicas have it"
        )
    return TopicUrl(parts.netloc, topic, options.pop("group", ""), options)
