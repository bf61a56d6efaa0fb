"""Slates out of a cache, filtered by what is live, and where they come from when the cache has none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cascade_client import CacheAway, CascadeClient, RequestRefused, SlateCache
from runtime.stream.events import FORGET
from runtime.stream.folder import save_spec
from runtime.stream.spec import StreamSpec
from runtime.stream.windows import Window
from tests.ensemble.slates.world import POPULAR, current, fill
from tests.runtime.stream.writer import Writer, stock

WINDOWS = (Window("click", 3600), Window("any", 86_400))
SPEC = StreamSpec(
    "INT64", "INT64", ("click",), stock="in_stock", history_length=3, dedupe_last=8,
    user_windows=WINDOWS, item_windows=WINDOWS, since=("any",),
)  # fmt: skip
ITEMS = list(range(70, 82))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"lmdb:{tmp_path / 'cache'}"


@pytest.fixture(params=[False, True], ids=["integers", "texts"])
def text_ids(request: Any) -> bool:
    return bool(request.param)


class Shop:
    """A cache and a live state beside it; ids are integers or texts."""

    def __init__(self, folder: Path, writer: Writer, spec: StreamSpec) -> None:
        self.events, self.url, self.writer = folder / "events", f"lmdb:{folder / 'cache'}", writer
        self.spec, self.text_ids = spec, spec.user_id_dtype == "BYTES"

    def id(self, number: int) -> Any:
        return f"n{number}" if self.text_ids else number

    def ids(self, numbers: list[int]) -> list[Any]:
        return [self.id(number) for number in numbers]

    def fill(self, offset: int = 0, **record: Any) -> None:
        slates = {self.id(7): self.ids(ITEMS), self.id(8): self.ids(ITEMS)}
        made = current(text_ids=self.text_ids, size=4, **record)
        fill(self.url, slates, made, offset=offset, popular=self.ids(POPULAR))

    def send(self, *rows: dict) -> int:
        def raw(value: Any) -> Any:
            return self.id(value).encode() if self.text_ids else value

        return self.writer.send(
            *({key: raw(value) if key in ("user", "item") else value for key, value in row.items()} for row in rows)
        )

    def read(self, user: int, **request: Any) -> list[Any]:
        with SlateCache(self.url, events=self.events) as cache:
            (slate,) = cache.recommend([self.id(user)], **request)
        assert slate.path == ("cache" if set(slate.item_ids) <= set(self.ids(ITEMS)) else "popularity")
        return slate.item_ids


@pytest.fixture
def shop(tmp_path: Path, text_ids: bool) -> Iterator[Shop]:
    kind = "BYTES" if text_ids else "INT64"
    spec = replace(SPEC, user_id_dtype=kind, item_id_dtype=kind)
    (tmp_path / "events").mkdir()
    save_spec(tmp_path / "events", spec)
    with Writer(tmp_path / "events", spec) as writer:
        yield Shop(tmp_path, writer, spec)


def test_what_was_clicked_since_is_on_no_page_and_pages_stay_full(shop: Shop) -> None:
    shop.fill()
    pages = [shop.read(7, page=page) for page in (1, 2, 3, 4)]
    assert pages == [shop.ids(ITEMS[:4]), shop.ids(ITEMS[4:8]), shop.ids(ITEMS[8:]), []]
    # More than the history holds, so that some are seen and no more; not every event is an interaction.
    shop.send(*({"user": 7, "item": item} for item in ITEMS[:5]))
    shop.send({"user": 7, "item": ITEMS[6], "value": 0.0})
    first, second = shop.read(7), shop.read(7, page=2)
    assert first + second == shop.ids(ITEMS[5:12]) and len(first) == 4
    assert shop.read(8) == shop.ids(ITEMS[:4])


def test_seen_items_come_where_the_model_shows_them(shop: Shop) -> None:
    shop.fill(seen=False)
    shop.send({"user": 7, "item": ITEMS[0]})
    assert shop.read(7) == shop.ids(ITEMS[:4])


def test_an_item_that_is_sold_out_comes_back_with_the_stock(shop: Shop) -> None:
    offset = shop.send(stock(ITEMS[0], 0.0))
    shop.fill(offset=offset)
    # The server knew of this one when it made the slate.
    assert shop.read(7) == shop.ids(ITEMS[:4])
    shop.send(stock(ITEMS[1], 0.0, at=2), stock(900, 0.0))
    assert shop.read(7) == shop.ids([ITEMS[0], *ITEMS[2:5]])
    assert shop.read(3) == shop.ids(POPULAR[1:])
    shop.send(stock(ITEMS[1], 1.0, at=3))
    assert shop.read(7) == shop.ids(ITEMS[:4])


def test_the_entry_of_a_forgotten_user_is_not_served(shop: Shop) -> None:
    shop.send({"user": 7, "item": 900})
    shop.fill(offset=1)
    assert shop.read(7) == shop.ids(ITEMS[:4])
    shop.send({"user": 7, "kind": FORGET})
    # And nothing is known of what this user has seen.
    assert shop.read(7) == shop.ids(POPULAR)
    assert shop.read(8) == shop.ids(ITEMS[:4])


def test_excluded_items_never_come(shop: Shop) -> None:
    shop.fill()
    assert shop.read(7, exclude_item_ids=[shop.ids(ITEMS[1:3])]) == shop.ids([ITEMS[0], *ITEMS[3:6]])
    assert shop.read(3, exclude_item_ids=[shop.ids(POPULAR[:3])]) == shop.ids(POPULAR[3:])
    assert shop.read(7, slate_size=100) == shop.ids(ITEMS)


def test_another_state_in_its_place_is_seen(shop: Shop) -> None:
    shop.fill()
    with SlateCache(shop.url, events=shop.events) as cache:
        assert cache.recommend([shop.id(7)])[0].item_ids == shop.ids(ITEMS[:4])
        other = replace(shop.spec, history_length=9)
        time.sleep(0.01)
        save_spec(shop.events, other)
        with Writer(shop.events, other) as writer:
            shop.writer = writer
            shop.send({"user": 7, "item": ITEMS[0]})
            assert cache.recommend([shop.id(7)])[0].item_ids == shop.ids(ITEMS[1:5])
        (shop.events / "stream.json").write_text("{")
        # For want of the state a slate is served.
        assert cache.recommend([shop.id(7)])[0].item_ids == shop.ids(ITEMS[:4])


@pytest.mark.triton
def test_pages_of_a_cache_that_cannot_fill_them_come_from_the_server(url: str, toy_server: Any) -> None:
    fill(url, {7: [7_001, 7_000, 5]}, current("1.aa", size=2))
    with CascadeClient(toy_server.grpc_url) as client, SlateCache(url, server=client, events="") as cache:
        pages = [cache.recommend([7], page=page)[0] for page in (1, 2, 3)]
        assert [(p.path, p.item_ids) for p in pages] == [
            ("cache", [7_001, 7_000]),
            ("known_user", [5, 7_002]),
            ("known_user", [7_003, 7_004]),
        ]
        (unknown, known) = cache.recommend([11, 7], exclude_item_ids=[[11_000], []], context={"hour": [3, 4]})
        assert (unknown.path, unknown.item_ids, unknown.scores[0]) == ("known_user", [11_001, 11_002], 4.0)
        assert known.path == "cache"
        # The server takes slates of up to 50 items.
        assert cache.recommend([11], slate_size=60)[0].path == "popularity"
        assert "slate_size must be between" in cache.problem


@pytest.mark.triton
def test_slates_of_a_version_that_is_not_served_are_not_either(url: str, toy_server: Any) -> None:
    fill(url, {7: [70, 71]}, current("2.aa"))
    with SlateCache(url, server=toy_server.grpc_url, events="", server_timeout_s=60) as cache:
        (slate,) = cache.recommend([7])
        assert (slate.path, slate.item_ids) == ("known_user", [7_000, 7_001])
        assert cache.problem == "the cache has slates of version 2, and version 1 is served"
    with SlateCache(url, events="") as alone:
        assert alone.recommend([7])[0].path == "cache"


def test_a_web_server_gets_no_error_while_something_stands_behind(url: str, tmp_path: Path) -> None:
    with SlateCache(url, server="127.0.0.1:1", events="") as cache:
        (slate,) = cache.recommend([7])
        assert (slate.path, slate.item_ids, slate.num_items) == ("none", [], 0)
        assert cache.problem
        fill(url, {7: [70, 71]}, current())
        time.sleep(1.05)
        assert [slate.path for slate in cache.recommend([7, 8])] == ["cache", "popularity"]
        Path(tmp_path / "cache" / "data.mdb").rename(tmp_path / "away")
        assert [slate.item_ids for slate in cache.recommend([7, 8])] == [POPULAR[:2], POPULAR[:2]]
        assert "there is no cache of slates in" in cache.problem
        (tmp_path / "away").rename(tmp_path / "cache" / "data.mdb")
        time.sleep(1.05)
        assert cache.recommend([7])[0].path == "cache"
        assert not cache.problem or "127.0.0.1:1" in cache.problem
    with pytest.raises(CacheAway, match=r"there is no cache of slates in .*; `cascade slates build` makes one"):
        SlateCache(f"lmdb:{tmp_path / 'absent'}", events="").recommend([7])


def test_arguments_that_do_not_fit_are_refused(url: str) -> None:
    fill(url, {7: [70, 71]}, current())
    with SlateCache(url, events="") as cache:
        for arguments, said in (
            (([],), "user_ids must be a list of at least one user id"),
            (("77",), "user_ids must be a list"),
            (([7], {"page": 0}), "page must be a whole number from 1 on, got 0"),
            (([7], {"slate_size": 2.5}), "slate_size must be a whole number from 1 on, got 2.5"),
            (([7], {"exclude_item_ids": []}), "exclude_item_ids must have one list for each of the 1 user ids, got 0"),
        ):
            with pytest.raises(RequestRefused, match=said):
                cache.recommend(arguments[0], **(arguments[1] if len(arguments) > 1 else {}))
        assert [slate.path for slate in cache.recommend(["7", "no number", 7.5])] == [
            "cache",
            "popularity",
            "popularity",
        ]


def test_a_cache_that_was_read_before_a_fork_is_read_after_it(url: str) -> None:
    fill(url, {7: [70, 71]}, current())
    code = (
        "import os, sys\n"
        "from cascade_client import SlateCache\n"
        f"cache = SlateCache({url!r}, events='')\n"
        "assert cache.recommend([7])[0].path == 'cache'\n"
        "if os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "assert cache.recommend([7])[0].item_ids == [70, 71]\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
