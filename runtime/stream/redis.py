"""The state on Redis, Valkey or a cluster of them: the same records as in LMDB, written by one fold a partition.

Nothing is written across keys at once, and nothing has to be. A record carries the offset of its last event, and a
record at an offset is the same whoever made it: so one that is older never takes the place of a newer one, and a batch
that comes again changes nothing: see `runtime.stream.redis_partition` for writing and `runtime.stream.redis_reading`.

Items are kept in parts, one a partition, that the reader adds up: see `runtime.stream.partials`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.stream.redis_nodes import Command, Nodes
from runtime.stream.redis_reading import RedisReading
from runtime.stream.redis_url import StoreUrl
from runtime.stream.spec import StreamSpec
from runtime.stream.store import SEEN, USER, StoreError

__all__ = ["READ_TIMEOUT_S", "WRITE_TIMEOUT_S", "RedisStore"]

READ_TIMEOUT_S, WRITE_TIMEOUT_S = 0.05, 5.0
# Keys with one hash tag are on one node, so that they are read and written by one command.
BUCKETS = 256
# Records of one command: other clients wait no longer than it takes.
AT_ONCE = 256
# Commands on their way at once.
FEW = 64
# The index of the events that could not be folded.
SET_ASIDE = b"aside"
# Users whose latest event is older, and what they have seen; those who were forgotten have no event and stay.
EXPIRE = b"""
local count = 0
for place = 1, #KEYS, 2 do
  local at = redis.call('GETRANGE', KEYS[place], ARGV[2], ARGV[3])
  at = #at == 8 and struct.unpack('<I8', at) or 0
  if at > 0 and at < tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[place], KEYS[place + 1])
    count = count + 1
  end
end
return count
"""


class RedisStore:
    """The whole state, for readers.

    Args:
        url: where it is.
        spec: of the stream.
        timeout_s: how long an answer may take.

    Attributes:
        opened: how many states have been there so far.
        log_id: which one it is.
    """

    def __init__(self, url: StoreUrl, spec: StreamSpec, timeout_s: float = READ_TIMEOUT_S) -> None:
        self.url, self.spec = url, spec
        self.nodes = Nodes(url, timeout_s)
        self.base = f"{url.prefix}:{spec.state_version}:".encode()
        self.positions_key = self.base + b"positions"
        self._tags = [b"%b{%d}" % (self.base, bucket) for bucket in range(BUCKETS)]
        self.opened, self.log_id = 0, ""

    @contextmanager
    def read(self) -> Iterator[RedisReading]:
        """See Store; nothing is asked before something is wanted."""
        yield RedisReading(self, None)

    def close(self) -> None:
        """See Store."""
        self.nodes.close()

    def begin(self, topic: str, num_partitions: int) -> None:
        """Make the state where there is none; what is there must be of the same topic and as many partitions.

        Raises:
            StoreError: it is of others, or cannot be had.
        """
        # By the id readers know that there is a state: it comes last, so that none of them finds half of this.
        wanted = {b"topic": topic.encode(), b"partitions": b"%d" % num_partitions, b"id": os.urandom(8).hex().encode()}
        key = self.positions_key
        self.ask([Command(key, (b"HSETNX", key, name, value)) for name, value in wanted.items()])
        was, partitions, _ = self.ask([Command(key, (b"HMGET", key, *wanted))])[0]
        if was != wanted[b"topic"]:
            raise StoreError(
                f"the state in {self.url.shown} under the prefix {self.url.prefix!r} is of the topic "
                f"{was.decode()!r}, not {topic!r}; give another prefix in the store's URL (?prefix=...)"
            )
        if partitions != wanted[b"partitions"]:
            raise StoreError(
                f"the topic {topic!r} has {num_partitions} partitions, and the state in {self.url.shown} was made of "
                f"{int(partitions)}: users have moved, and their offsets begin anew; fill a new state from the topic's "
                f"beginning under another prefix (?prefix=...), and serve that one"
            )

    def say_fresh(self, instants: Mapping[int, int]) -> None:
        """Say up to when everything that came to partitions is in the state.

        Args:
            instants: by partition, nanoseconds since 1970.

        Raises:
            StoreError: it cannot be written.
        """
        fields = [each for part, at in instants.items() for each in (b"fresh:%d" % part, b"%d" % at)]
        if fields:
            self.ask([Command(self.positions_key, (b"HSET", self.positions_key, *fields))])

    def set_aside(self, partition: int, offset: int) -> None:
        """Keep that an event of the source is in no record, since it could not be folded.

        Raises:
            StoreError: it cannot be written.
        """
        key = self.index_key(SET_ASIDE, partition)
        self.ask([Command(key, (b"SADD", key, b"%d" % offset))])

    def set_aside_offsets(self, partition: int) -> NDArray[np.int64]:
        """The offsets of these events of a partition; int64, ascending.

        Raises:
            StoreError: they cannot be read.
        """
        key = self.index_key(SET_ASIDE, partition)
        (found,) = self.ask([Command(key, (b"SMEMBERS", key))])
        return np.array(sorted(map(int, found)), np.int64)

    def expire(self, before: int, last_at: slice) -> int:
        """Remove users who have done nothing for long; see LmdbStore.

        Raises:
            StoreError: a node is away; those that are gone are gone.
        """
        key = self.positions_key
        with self.read() as reading:
            users = [key for key in reading.every_key() if key[:1] == USER]
            self.ask([Command(key, (b"HSET", key, b"expired", b"%d" % max(before, reading.expired_at)))])
        place = (b"%d" % last_at.start, b"%d" % (last_at.stop - 1))
        named, seen = self.record_keys(users), self.record_keys([SEEN + key[1:] for key in users])
        commands = []
        for group in self.by_bucket(named):
            names = [name for place in group for name in (named[place], seen[place])]
            commands.append(Command(names[0], (b"EVAL", EXPIRE, b"%d" % len(names), *names, b"%d" % before, *place)))
        return sum(sum(self.ask(commands[start : start + FEW])) for start in range(0, len(commands), FEW))

    def record_key(self, key: bytes, partition: int | None = None) -> bytes:
        """The key here of one in LMDB; of an item's, its part of a partition."""
        return self.record_keys([key], partition)[0]

    def record_keys(self, keys: Sequence[bytes], partition: int | None = None) -> list[bytes]:
        """The same of many."""
        tags, part = self._tags, b"" if partition is None else partition.to_bytes(2, "big")
        return [tags[zlib.crc32(key[1:]) % BUCKETS] + key + part for key in keys]

    def index_key(self, index: bytes, partition: int) -> bytes:
        """The key of what an index has of a partition.

        Of items a sorted set by the offset of the event that put them there; of events set aside a set of offsets.
        """
        return b"%b{p%d}%b" % (self.base, partition, index)

    def by_bucket(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Places of keys that one command may have."""
        if not self.nodes.is_cluster:
            return [list(range(start, min(start + AT_ONCE, len(keys)))) for start in range(0, len(keys), AT_ONCE)]
        buckets: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            buckets.setdefault(key[: key.index(b"}", len(self.base))], []).append(place)
        return list(buckets.values())

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands.

        Raises:
            StoreError: one of them could not be had.
        """
        answers = self.nodes.run(commands)
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
            if isinstance(answer, Exception):
                raise StoreError(f"the store {self.url.shown} refused a command ({answer})")
        return answers
