"""The messages of a topic as batches of events, as a log gives its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ensemble.stream.messages import MessageReader, Read
from ensemble.stream.shared import Shared
from ensemble.stream.topic_reader import TopicReader
from runtime.stream.log.reader import Batch
from runtime.stream.redis import RedisStore
from workflows.core.errors import ArtefactError

__all__ = ["NEW_PREFIX", "TopicBatches"]

NS_PER_MS = 1_000_000
NONE = np.zeros(0, np.int64)
# What helps a state that is not what its topic makes.
NEW_PREFIX = (
    "start workers with another prefix in the store's URL (?prefix=...), and a new state is made from the topic"
)


class TopicBatches:
    """Reads the topic of a product.

    Args:
        shared: the product.

    Raises:
        ServingError, ConfigError: see `TopicReader`.

    Attributes:
        num_partitions: of the topic.
        bounds: by partition, its first and its next offset.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._topic = TopicReader(shared.topic)
        self._reader = MessageReader(shared.spec)
        self.num_partitions = self._topic.num_partitions
        self.bounds = self._topic.bounds()

    def check_whole(self, store: RedisStore) -> None:
        """See that the topic is the one of a state, and still has every event that the state knows.

        Raises:
            ArtefactError: it is not, or has not.
            StoreError: the state cannot be had, or is of another topic.
        """
        with store.read() as reading:
            positions = getattr(reading.position, "parts", ())
        store.begin(self._shared.topic.topic, self.num_partitions)
        for partition, ((low, high), position) in enumerate(zip(self.bounds, positions, strict=True)):
            name = f"partition {partition} of {self._shared.topic.shown}"
            if low and position:
                raise ArtefactError(
                    f"{name} no longer has the messages before offset {low}, which the state knows: there is nothing "
                    "to compare with"
                )
            if position > high:
                raise ArtefactError(
                    f"{name} ends at offset {high}, and the state knows events up to {position}: the topic was made "
                    "anew; give another prefix in the store's URL (?prefix=...)"
                )

    def batches(self, partition: int, start: int, stop: int, state: RedisStore | None = None) -> Iterator[Batch]:
        """The good events of a partition between two offsets.

        Args:
            partition: of the topic.
            start: the first offset.
            stop: the offset that is no longer read.
            state: without the events that its workers have set aside; None: with all.

        Raises:
            ServingError: see `TopicReader.read`.
            StoreError: the state is away.
        """
        set_aside = NONE if state is None else state.set_aside_offsets(partition)
        for messages in self._topic.read(partition, start, stop):
            found = self._reader.read(partition, messages)
            if isinstance(found, Read):
                arrived = {message.offset: message.at_ms * NS_PER_MS for message in messages}
                received_at = np.array([arrived[offset] for offset in found.offsets.tolist()], np.int64)
                batch = Batch(found.events, found.offsets, received_at, messages[-1].offset + 1)
                yield batch.without(set_aside)

    def close(self) -> None:
        """Give the connections back."""
        self._topic.close()
