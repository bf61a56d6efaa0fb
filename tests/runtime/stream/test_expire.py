"""A state that stays as large as what is in use, in both homes, while users come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.stream.events import INTERACTION
from runtime.stream.record import user_record
from runtime.stream.redis import RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_url import read_url
from runtime.stream.state import apply_at
from runtime.stream.store import SEEN, USER, LmdbStore, Store
from tests.runtime.stream import valkey
from tests.runtime.stream.test_fold import SECOND, SPEC, events_of

DAY = 86_400 * SECOND
START = 20_000 * DAY
USERS_A_DAY, DAYS, TTL_DAYS = 150, 30, 7
# More than a history holds, so that there is more seen besides.
EVENTS = SPEC.history_length + 2
Expire = Callable[[int, slice], int]


@pytest.fixture
def lmdb(tmp_path: Path) -> Iterator[tuple[Store, Expire, Callable[[], int]]]:
    store = LmdbStore(tmp_path, writable=True)
    yield store, store.expire, lambda: (tmp_path / "data.mdb").stat().st_blocks
    store.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[Store, Expire, Callable[[], int]]]:
    with valkey.one(tmp_path) as server:
        store = RedisStore(read_url(server.url), SPEC, 5.0)
        store.begin("clicks", 1)
        yield RedisPartition(store, 0), store.expire, server.client().dbsize
        store.close()


@pytest.mark.parametrize("home", ["lmdb", pytest.param("redis", marks=pytest.mark.service("valkey"))])
def test_the_store_is_flat_once_a_life_has_gone_by(home, request):
    store, expire, size = request.getfixturevalue(home)
    fields = user_record(SPEC).fields
    assert fields is not None
    place = slice(fields["last_at"][1], fields["last_at"][1] + 8)
    sizes, num_gone, offset = [], 0, 0
    for day in range(DAYS):
        users = np.repeat(np.arange(day * USERS_A_DAY, (day + 1) * USERS_A_DAY), EVENTS).tolist()
        at = START + day * DAY
        rows = [
            {"kind": INTERACTION, "user": user, "item": place % 50, "at": at, "event_id": b"%d" % place}
            for place, user in enumerate(users)
        ]
        apply_at(store, SPEC, events_of(rows), np.arange(offset, offset + len(rows)), offset + len(rows))
        offset += len(rows)
        num_gone += expire(at - TTL_DAYS * DAY, place)
        sizes.append(size())
    assert num_gone == (DAYS - TTL_DAYS - 1) * USERS_A_DAY
    assert max(sizes[TTL_DAYS + 3 :]) <= 1.05 * sizes[TTL_DAYS + 2]
    with store.read() as reading:
        for prefix in (USER, SEEN):
            left = [int.from_bytes(key[1:], "big") - (1 << 63) for key, _ in reading.scan(prefix)]
            assert sorted(left) == list(range((DAYS - TTL_DAYS - 1) * USERS_A_DAY, DAYS * USERS_A_DAY))
        assert reading.expired_at == START + (DAYS - 1 - TTL_DAYS) * DAY
