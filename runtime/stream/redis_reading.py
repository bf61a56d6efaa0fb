"""The state on Redis as it is when it is asked: records, what has changed, and how far each partition is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runtime.stream.partials import added_up
from runtime.stream.redis_nodes import Command
from runtime.stream.store import ITEM, SEEN, USER, NoStateError, StoreError

if TYPE_CHECKING:
    from runtime.stream.redis import RedisStore

__all__ = ["Positions", "RedisReading"]


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
    def topic(self) -> str:
        """The name of the topic that it is made of."""
        return self._known()[b"topic"].decode()

    @property
    def fresh_at(self) -> int:
        """See Reading."""
        known = self._known()
        return min(int(known.get(b"fresh:%d" % part, 0)) for part in range(self._num_partitions()))

    @property
    def expired_at(self) -> int:
        """See Reading."""
        return int(self._known().get(b"expired", 0))

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
        if len(kinds := {key[:1] for key in keys}) == 1 and (self._partition is not None or ITEM not in kinds):
            own_part = self._partition if ITEM in kinds else None
            one_each, gone = self._values(self._store.record_keys(keys, own_part))
            return one_each, sorted(gone)
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
        wanted = sorted(key for key in self.every_key() if key.startswith(prefix) and key >= start)
        for key, value in zip(wanted, self.get(wanted), strict=True):
            if value is not None:
                yield key, value

    def every_key(self) -> set[bytes]:
        """The keys of all records and seen items, as LMDB has them.

        Raises:
            StoreError: a node is away.
        """
        self._known()
        length, keys = len(self._store.base), set()
        for key in self._store.nodes.scan(self._store.base + b"{*"):
            kind = key[key.index(b"}", length) + 1 :]
            if kind[:1] in (USER, SEEN, ITEM):
                keys.add(kind[:-2] if kind[:1] == ITEM else kind)
        return keys

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
            raise NoStateError(
                f"the store {self._store.url.shown} holds no state of this [stream] under the prefix "
                f"{self._store.url.prefix!r} yet; `cascade stream run` makes it"
            )
        self._fields = fields
        self._positions = Positions.of(int(fields.get(b"%d" % part, 0)) for part in range(self._num_partitions()))
        if (named := fields[b"id"].decode()) != self._store.log_id:
            self._store.opened, self._store.log_id = self._store.opened + 1, named

    def _num_partitions(self) -> int:
        return int(self._known()[b"partitions"])
