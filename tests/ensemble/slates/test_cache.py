"""Every kind of cache does the same: keys and values in order, one holder at a time, and readers that see them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_client import SlateCache
from cascade_client.slate_stores import CacheAway, parse_cache_url
from ensemble.slates.blocked import write_blocked
from ensemble.slates.cache.base import Item
from ensemble.slates.cache.open import open_cache
from ensemble.slates.records import read_current
from ensemble.slates.status import print_status
from tests.ensemble.slates.conftest import KINDS
from tests.ensemble.slates.services import valkey
from tests.ensemble.slates.world import POPULAR, current, fill, now_ms
from tests.ports import free_port
from workflows.core.errors import CascadeError, ConfigError, ServingError

every_kind = pytest.mark.parametrize("new_cache", KINDS, indirect=True)


@every_kind
def test_items_are_written_read_scanned_and_removed(new_cache: Callable[[], str]) -> None:
    items = {b"e1\0" + bytes([place % 251, place // 251]): b"%d" % place * 30 for place in range(300)}
    with open_cache(new_cache(), create=True) as cache:
        cache.put([Item(key, value, now_ms() + 60_000) for key, value in items.items()])
        cache.put([Item(b"e[1*?]\\", b"odd"), Item(b"m", b"other"), Item(b"e2", b"x"), Item(b"e2", None)])
        assert cache.get([b"m", b"absent", *items]) == [b"other", None, *items.values()]
        assert cache.get([]) == []
        assert dict(cache.scan(b"e1\0")) == items
        assert dict(cache.scan(b"e[1*?]\\")) == {b"e[1*?]\\": b"odd"}
        assert list(cache.scan(b"e2")) == []


@every_kind
def test_one_holds_it_at_a_time(new_cache: Callable[[], str]) -> None:
    url = new_cache()
    with open_cache(url, create=True) as cache:
        with cache.hold("build"), cache.hold("refresh"):
            with (
                pytest.raises(ServingError, match=r"another `cascade slates build` writes to the cache"),
                cache.hold("build"),
            ):
                pass
            cache.put([Item(b"e", b"still held")])
        with cache.hold("build"):
            pass


@every_kind
def test_readers_see_the_version_that_is_current_and_no_other(new_cache: Callable[[], str]) -> None:
    url = new_cache()
    fill(url, {7: [70, 71, 72]}, current("1.aa"))
    with SlateCache(url, events="", timeout_s=60) as reader:
        (slate,) = reader.recommend([7])
        assert (slate.item_ids, slate.scores, slate.path) == ([70, 71], [1.0, 0.5], "cache")
        fill(url, {7: [75, 76], 8: [80]}, current("2.bb"))
        assert [s.item_ids for s in reader.recommend([7, 8, 9])] == [[75, 76], [80], POPULAR[:2]]
        assert [s.path for s in reader.recommend([7, 8, 9])] == ["cache", "cache", "popularity"]
        # An entry under the version that is read that says another one.
        with open_cache(url) as cache:
            (other,) = cache.get([next(key for key, _ in cache.scan(b"e1.aa\0") if len(key) > 6)])
            mine = next(key for key, _ in cache.scan(b"e2.bb\0") if len(key) > 6 and key.endswith(b"\x07"))
            cache.put([Item(mine, other)])
        assert reader.recommend([7])[0].path == "popularity"


@every_kind
def test_an_expired_entry_is_never_served(new_cache: Callable[[], str]) -> None:
    url = new_cache()
    fill(url, {8: [80]}, current(ttl_s=2), asked_at_ms=now_ms() - 2_000)
    with SlateCache(url, events="", timeout_s=60) as reader:
        assert reader.recommend([8])[0].path == "popularity"
        # The build itself may take its time: what an answer must be follows from when it was asked for.
        expires_ms = (asked_at_ms := now_ms()) + 2_000
        fill(url, {7: [70, 71]}, current(ttl_s=2), asked_at_ms=asked_at_ms)
        while now_ms() < expires_ms:
            (slate,) = reader.recommend([7])
            if now_ms() < expires_ms:
                assert slate.path == "cache"
            time.sleep(0.05)
        assert [s.path for s in reader.recommend([7, 8])] == ["popularity", "popularity"]


@every_kind
def test_what_is_blocked_is_on_no_page_at_once(new_cache: Callable[[], str]) -> None:
    url = new_cache()
    fill(url, {7: [70, 71, 72]}, current("1.aa"))
    with SlateCache(url, events="", timeout_s=60) as reader:
        assert [slate.item_ids for slate in reader.recommend([7, 8])] == [[70, 71], POPULAR[:2]]
        with open_cache(url) as cache:
            write_blocked(cache, [70, POPULAR[1]])
        assert [slate.item_ids for slate in reader.recommend([7, 8])] == [[71, 72], [POPULAR[0], POPULAR[2]]]
        fill(url, {7: [70, 75]}, current("2.bb"))
        assert [slate.item_ids for slate in reader.recommend([7, 8])] == [[75], [POPULAR[0], POPULAR[2]]]
        with open_cache(url) as cache:
            write_blocked(cache, [])
        assert [slate.item_ids for slate in reader.recommend([7, 8])] == [[70, 75], POPULAR[:2]]


@every_kind
def test_the_status_says_what_is_there(new_cache: Callable[[], str], capsys: pytest.CaptureFixture[str]) -> None:
    url = new_cache()
    with open_cache(url, create=True):
        pass
    print_status(url, None)
    assert "none are built yet" in capsys.readouterr().out
    fill(url, {7: [70], 8: [80], 9: [90]}, current("3.cc"))
    print_status(url, None)
    said = " ".join(capsys.readouterr().out.split())
    assert "3.cc" in said and "3 of 6 items" in said and "0 have expired" in said
    print_status(url, None, as_json=True)
    found = json.loads(capsys.readouterr().out)["slates"]
    assert (found["version"], found["num_slates"], found["num_items"], found["num_expired"]) == ("3.cc", 3, 6, 0)


@pytest.mark.service("valkey")
def test_a_redis_that_is_full_or_away_is_one_sentence(tmp_path: Path) -> None:
    with valkey(tmp_path, "--maxmemory", "3mb") as url:
        with open_cache(url) as cache:
            with pytest.raises(CascadeError, match=r"no memory left \(maxmemory\); give it more"):
                cache.put([Item(b"e%d" % place, b"x" * 1_000) for place in range(5_000)])
            assert cache.get([b"e0"]) == [None]
            fill(url, {7: [70, 71]}, current())
        reader = SlateCache(url, events="", timeout_s=60)
        assert reader.recommend([7])[0].path == "cache"
    (slate,) = reader.recommend([7])
    assert (slate.path, slate.item_ids) == ("popularity", POPULAR[:2])
    assert "cannot be read" in reader.problem
    with pytest.raises(ServingError, match=r"the cache redis://127\.0\.0\.1:\d+/0 cannot be used"), open_cache(url):
        pass
    with pytest.raises(CacheAway, match="cannot be read"):
        SlateCache(url, events="").recommend([7])


def test_a_cache_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    absent = f"lmdb:{tmp_path / 'absent'}"
    with pytest.raises(ServingError, match="there is none; `cascade slates build` makes one"), open_cache(absent):
        pass
    for url in ("nothing", "lmdb:", "redis:", "dynamodb://a/b", "redis://h?colour=red", "redis://h:x", "file:x"):
        with pytest.raises(ConfigError, match="--cache: a cache of slates"), open_cache(url):
            pass
    (tmp_path / "file").write_text("")
    with pytest.raises(CascadeError, match="cannot be used"), open_cache(f"lmdb:{tmp_path / 'file'}", create=True):
        pass


FILL = """
import sys
from ensemble.slates.blocked import write_blocked
from ensemble.slates.cache.base import Item
from ensemble.slates.cache.open import open_cache
from workflows.core.errors import CascadeError
with open_cache("lmdb:" + sys.argv[1] + "/cache", create=True) as cache:
    cache.put([Item(b"e", b"kept")])
    try:
        for place in range(100):
            cache.put([Item(b"e%d" % place, b"x" * 50_000)])
    except CascadeError as error:
        print(error)
    print(cache.get([b"e"]), len(list(cache.scan(b"e"))) > 5)
"""


def test_a_full_disk_is_one_sentence_and_keeps_what_is_there(tmp_path: Path) -> None:
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace of its own may be made here")
    mount = f'mount -t tmpfs -o size=3m small {tmp_path} && exec "$@"'
    program = ["sh", "-c", mount, "sh", sys.executable, "-c", FILL, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*alone, *program], env=environment, capture_output=True, text=True, check=True)
    said = f"the disk of {tmp_path}/cache is full; free some space and run the same command again"
    assert done.stdout.splitlines() == [said, "[b'kept'] True"]


def test_a_password_is_in_no_message() -> None:
    assert str(parse_cache_url("redis://me:secret@host:1/2?prefix=a")) == "redis://host:1/2"
    with pytest.raises(ServingError) as raised, open_cache(f"redis://me:secret@127.0.0.1:{free_port()}/2"):
        pass
    assert "secret" not in str(raised.value)


def test_records_of_another_cascade_are_one_sentence(tmp_path: Path) -> None:
    with open_cache(f"lmdb:{tmp_path / 'cache'}", create=True) as cache:
        cache.put([Item(b"mcurrent", b'{"version": 7}')])
        with pytest.raises(CascadeError, match="'current' cannot be read"):
            read_current(cache)
    with pytest.raises(CacheAway, match="build it again"):
        SlateCache(f"lmdb:{tmp_path / 'cache'}", events="").recommend([7])
