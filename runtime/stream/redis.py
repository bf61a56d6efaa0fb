"""The state on Redis, Valkey or a cluster of them: the same records as in LMDB, written by one fold a partition.

Nothing is written across keys at once, and nothing has to be. A record carries the offset of its last event, and a
record at an offset is the same whoever made it: so one that is older never takes the place of a newer one, and a batch
that comes again changes nothing. A commit writes indexes first, then items, then users, then the position; what was cut
off is written when the batch comes again, since what decides is written last.

Items are kept in parts, one a partition, that the reader adds up: see `runtime.stream.partials`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from runtime.stream.partials import added_up
from runtime.stream.redis_nodes import Command, Nodes
from runtime.stream.redis_url import StoreUrl
from runtime.stream.spec import StreamSpec
from runtime.stream.store import COUNTED, ITEM, SEEN, STOCK, USER, StoreError

__all__ = ["Positions", "RedisPartition", "RedisReading", "RedisStore"]

READ_TIMEOUT_S, WRITE_TIMEOUT_S = 0.05, 5.0
# Keys with one hash tag are on one node, so that they are read and written by one command.
BUCKETS = 256
# Records of one command: other clients wait no longer than it takes.
AT_ONCE = 256
# Records, never older over newer: each begins with its `next_offset`.
PUT = b"""
for place, key in ipairs(KEYS) do
  local old = redis.call('GETRANGE', key, 0, 7)
  if #old < 8 or struct.unpack('<I8', old) <= struct.unpack('<I8', ARGV[place]) then
    redis.call('SET', key, ARGV[place])
  end
end
return 1
"""
# The same with the seen items of their users, b"" to remove them: a pair is written whole or not at all.
PUT_SEEN = b"""
for place = 1, #KEYS, 2 do
  local old = redis.call('GETRANGE', KEYS[place], 0, 7)
  if #old < 8 or struct.unpack('<I8', old) <= struct.unpack('<I8', ARGV[place]) then
    if #ARGV[place + 1] == 0 then redis.call('DEL', KEYS[place + 1])
    else redis.call('SET', KEYS[place + 1], ARGV[place + 1]) end
    redis.call('SET', KEYS[place], ARGV[place])
  end
end
return 1
"""
# A position never goes back.
MOVE = b"""
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old or tonumber(old) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1
"""


class Positions(int):
    """How far a state is: the sum over partitions, which only grows, with what each of them is at.

    Attributes:
        parts: by partition, events with smaller offsets are in the state.
    """

    parts: tuple[int, ...]

    @classmethod
    def of(cls, parts: Iterable[int]) -> Positions:
        """From the position of each partition."""
        every = tuple(parts)
        made = cls(sum(every))
        made.parts = every
        return made


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
        wanted = {b"id": os.urandom(8).hex().encode(), b"topic": topic.encode(), b"partitions": b"%d" % num_partitions}
        key = self.positions_key
        self.ask([Command(key, (b"HSETNX", key, name, value)) for name, value in wanted.items()])
        _, was, partitions = self.ask([Command(key, (b"HMGET", key, *wanted))])[0]
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

    def record_key(self, key: bytes, partition: int | None = None) -> bytes:
        """The key here of one in LMDB; of an item's, its part of a partition."""
        tagged = self._tags[zlib.crc32(key[1:]) % BUCKETS] + key
        return tagged if partition is None else tagged + partition.to_bytes(2, "big")

    def index_key(self, index: bytes, partition: int) -> bytes:
        """The sorted set of the items that an index names: by the offset of the event that put them there."""
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


class RedisReading:
    """The state as it is when it is asked; see Reading. The position is that of before the first answer.

    Args:
        store: of which.
        partition: whose position and parts of items it sees; None: all.
    """

    def __init__(self, store: RedisStore, partition: int | None) -> None:
        self._store, self._partition = store, partition
        self._fields: dict[bytes, bytes] | None = None
        self._positions: Positions | None = None

    @property
    def position(self) -> int:
        """See Reading."""
        known = self._known()
        if self._partition is not None:
            return int(known.get(b"%d" % self._partition, 0))
        assert self._positions is not None
        return self._positions

    @property
    def fresh_at(self) -> int:
        """See Reading."""
        known = self._known()
        return min(int(known.get(b"fresh:%d" % part, 0)) for part in range(self._num_partitions()))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Reading."""
        values, away = self.found(keys)
        if away:
            raise StoreError(f"a node of the store {self._store.url.shown} is away")
        return values

    def found(self, keys: Sequence[bytes]) -> tuple[list[bytes | None], list[int]]:
        """See Reading."""
        if not keys:
            return [], []
        parts = [self._parts(key) for key in keys]
        flat, away = self._values([key for own in parts for key in own])
        values: list[bytes | None] = []
        lost, place = [], 0
        for number, own in enumerate(parts):
            of_key = flat[place : place + len(own)]
            if away and not away.isdisjoint(range(place, place + len(own))):
                lost.append(number)
            values.append(of_key[0] if len(own) == 1 else added_up([of_key], self._store.spec)[0])
            place += len(own)
        return values, lost

    def changed(self, index: bytes, since: int | None) -> list[bytes]:
        """See Reading."""
        starts = self._starts(since)
        commands = []
        for partition, start in starts:
            key = self._store.index_key(index, partition)
            commands.append(Command(key, (b"ZRANGEBYSCORE", key, start, b"+inf")))
        found = self._store.ask(commands)
        return list(dict.fromkeys(key for keys in found for key in keys))

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See Reading; looks through the whole store, and knows no indexes."""
        self._known()
        length, keys = len(self._store.base), set()
        for client in self._store.nodes.each():
            for key in client.scan_iter(match=self._store.base + b"{*", count=1000):
                kind = key[key.index(b"}", length) + 1 :]
                if kind[:1] in (USER, SEEN, ITEM):
                    keys.add(kind[:-2] if kind[:1] == ITEM else kind)
        wanted = sorted(key for key in keys if key.startswith(prefix) and key >= start)
        for key, value in zip(wanted, self.get(wanted), strict=True):
            if value is not None:
                yield key, value

    def _starts(self, since: int | None) -> list[tuple[int, bytes]]:
        """The offset from which on each partition has news."""
        known = since.parts if isinstance(since, Positions) else ()
        numbers = range(self._num_partitions()) if self._partition is None else (self._partition,)
        return [(part, b"%d" % known[part] if part < len(known) else b"-inf") for part in numbers]

    def _parts(self, key: bytes) -> list[bytes]:
        if key[:1] != ITEM:
            return [self._store.record_key(key)]
        if self._partition is not None:
            return [self._store.record_key(key, self._partition)]
        return [self._store.record_key(key, part) for part in range(self._num_partitions())]

    def _values(self, keys: list[bytes]) -> tuple[list[bytes | None], set[int]]:
        """Values, and the places of those that cannot be had."""
        groups = self._store.by_bucket(keys)
        commands = [Command(keys[group[0]], (b"MGET", *(keys[place] for place in group))) for group in groups]
        if self._fields is None and not self._store.nodes.is_cluster:
            # One server runs commands in order, so the position needs no way of its own.
            first = Command(self._store.positions_key, (b"HGETALL", self._store.positions_key))
            answers = self._store.nodes.run([first, *commands])
            self._learn(answers.pop(0))
        else:
            self._known()
            answers = self._store.nodes.run(commands)
        values: list[bytes | None] = [None] * len(keys)
        away: set[int] = set()
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, Exception):
                away.update(group)
                continue
            for place, value in zip(group, answer, strict=True):
                values[place] = value
        return values, away

    def _known(self) -> dict[bytes, bytes]:
        if self._fields is None:
            key = self._store.positions_key
            self._learn(self._store.nodes.run([Command(key, (b"HGETALL", key))])[0])
        assert self._fields is not None
        return self._fields

    def _learn(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise answer if isinstance(answer, StoreError) else StoreError(f"the store refused a command ({answer})")
        pairs = iter(answer)
        fields = dict(zip(pairs, pairs, strict=True))
        if b"id" not in fields:
            raise StoreError(
                f"the store {self._store.url.shown} holds no state of this [stream] under the prefix "
                f"{self._store.url.prefix!r} yet; `cascade stream run` makes it"
            )
        self._fields = fields
        self._positions = Positions.of(int(fields.get(b"%d" % part, 0)) for part in range(self._num_partitions()))
        if (named := fields[b"id"].decode()) != self._store.log_id:
            self._store.opened, self._store.log_id = self._store.opened + 1, named

    def _num_partitions(self) -> int:
        return int(self._known()[b"partitions"])


class RedisPartition:
    """What one partition of the source says, for the fold that reads it; see Store.

    Args:
        store: with a patient timeout.
        partition: of the source.
    """

    def __init__(self, store: RedisStore, partition: int) -> None:
        self._store, self._partition = store, partition

    @contextmanager
    def read(self) -> Iterator[RedisReading]:
        """See Store."""
        yield RedisReading(self._store, self._partition)

    def commit(self, writes: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
        """See Store; what of it is written when this fails is written again, without harm, with the same events."""
        kinds: dict[bytes, dict[bytes, bytes | None]] = {}
        for key, value in writes:
            kinds.setdefault(key[:1], {})[key] = value
        for index, later in ((STOCK, 0), (COUNTED, 1)):
            self._write_index(index, kinds.get(index, {}), later)
        self._put(kinds.get(ITEM, {}), {}, self._partition)
        self._put(kinds.get(USER, {}), kinds.get(SEEN, {}), None)
        self._script(MOVE, [self._store.positions_key], [b"%d" % self._partition, b"%d" % position])

    def close(self) -> None:
        """The store is not this one's to close."""

    def _write_index(self, index: bytes, entries: dict[bytes, bytes | None], later: int) -> None:
        """Entries by offset; what an item had before is replaced by what it has now."""
        pairs: list[bytes] = []
        for key, item in entries.items():
            if item is not None:
                pairs += [b"%d" % (int.from_bytes(key[1:], "big") - later), item]
        if pairs:
            key = self._store.index_key(index, self._partition)
            self._store.ask([Command(key, (b"ZADD", key, b"GT", *pairs))])

    def _put(self, records: dict[bytes, bytes | None], seen: dict[bytes, bytes | None], partition: int | None) -> None:
        """Records of one kind, each with what its user has seen where that has changed."""
        commands = []
        for script in (PUT, PUT_SEEN):
            has_seen = script == PUT_SEEN
            keys = [key for key in records if (SEEN + key[1:] in seen) == has_seen]
            named = [self._store.record_key(key, partition) for key in keys]
            for group in self._store.by_bucket(named):
                names, values = [named[place] for place in group], [records[keys[place]] or b"" for place in group]
                if has_seen:
                    others = [SEEN + keys[place][1:] for place in group]
                    names = _paired(names, [self._store.record_key(key) for key in others])
                    values = _paired(values, [seen[key] or b"" for key in others])
                commands.append(Command(names[0], (b"EVAL", script, len(names), *names, *values)))
        if commands:
            self._store.ask(commands)

    def _script(self, script: bytes, keys: list[bytes], arguments: list[bytes]) -> None:
        self._store.ask([Command(keys[0], (b"EVAL", script, len(keys), *keys, *arguments))])


def _paired(first: list[bytes], second: list[bytes]) -> list[bytes]:
    return [each for pair in zip(first, second, strict=True) for each in pair]
