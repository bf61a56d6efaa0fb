"""What one partition of the source says, written to Redis so that it may be cut off anywhere.

A commit writes indexes first, then items, then users, then the position; what was cut off is written when the batch
comes again, since what decides is written last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np

from runtime.stream.redis import RedisStore
from runtime.stream.redis_nodes import Command
from runtime.stream.redis_reading import RedisReading
from runtime.stream.store import COUNTED, ITEM, SEEN, STOCK, USER

__all__ = ["RedisPartition"]

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
        items = [item for item in entries.values() if item is not None]
        if items:
            packed = b"".join([key[1:] for key, item in entries.items() if item is not None])
            scores = [b"%d" % (offset - later) for offset in np.frombuffer(packed, ">i8").tolist()]
            key = self._store.index_key(index, self._partition)
            self._store.ask([Command(key, (b"ZADD", key, b"GT", *_paired(scores, items)))])

    def _put(self, records: dict[bytes, bytes | None], seen: dict[bytes, bytes | None], partition: int | None) -> None:
        """Records of one kind, each with what its user has seen where that has changed."""
        commands = []
        for script in (PUT, PUT_SEEN):
            has_seen = script == PUT_SEEN
            if has_seen and not seen:
                continue
            keys = [key for key in records if (SEEN + key[1:] in seen) == has_seen] if seen else list(records)
            named = self._store.record_keys(keys, partition)
            for group in self._store.by_bucket(named):
                names, values = [named[place] for place in group], [records[keys[place]] or b"" for place in group]
                if has_seen:
                    others = [SEEN + keys[place][1:] for place in group]
                    names = _paired(names, self._store.record_keys(others))
                    values = _paired(values, [seen[key] or b"" for key in others])
                commands.append(Command(names[0], (b"EVAL", script, b"%d" % len(names), *names, *values)))
        if commands:
            self._store.ask(commands)

    def _script(self, script: bytes, keys: list[bytes], arguments: list[bytes]) -> None:
        self._store.ask([Command(keys[0], (b"EVAL", script, b"%d" % len(keys), *keys, *arguments))])


def _paired(first: list[bytes], second: list[bytes]) -> list[bytes]:
    return list(chain.from_iterable(zip(first, second, strict=True)))
