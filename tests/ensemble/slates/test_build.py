"""Slates of many users from a server that answers by arithmetic: all of them, after every interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade_client import SlateCache
from cascade_client.slate_entry import Entry, entry_key
from ensemble.slates.build import Options, build
from ensemble.slates.cache.open import open_cache
from ensemble.slates.records import read_building, read_current
from tests.ensemble.slates.conftest import KINDS
from tests.ensemble.slates.world import current, fill
from workflows.core.errors import CascadeError, ConfigError, DataError, RequestError, ServingError

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]


def users_file(folder: Path, users: list[Any]) -> str:
    path = folder / "users.txt"
    path.write_text("user_id\n" + "".join(f"{user}\n" for user in users))
    return str(path)


def command(url: str, cache: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "scripts.slates", "build", url, "--cache", cache, *options]


@pytest.mark.parametrize("new_cache", KINDS, indirect=True)
def test_every_user_has_a_slate_and_the_file_has_a_row_an_item(
    new_cache: Callable[[], str], toy_server: Any, tmp_path: Path
) -> None:
    cache, out, users = new_cache(), tmp_path / "slates.parquet", [*range(1, 71), -5]
    # Users -5 and below are unknown to this model.
    options = Options(users_file(tmp_path, [*users, 3]), 60, {"hour": "2"})
    build(toy_server.grpc_url, cache, options, out=out)
    with SlateCache(cache, events="", timeout_s=60) as reader:
        slates = reader.recommend(users)
        assert [slate.path for slate in slates] == ["cache"] * 71
        assert slates[6].item_ids == [7_000 + place for place in range(10)]
        assert slates[6].scores[0] == 3.0
        assert reader.recommend([7], page=3)[0].item_ids == [7_020 + place for place in range(10)]
        assert reader.recommend([500])[0].path == "popularity"
    table = pq.read_table(out)
    assert table.num_rows == 71 * 30
    assert str(table.schema.field("made_at").type) == "timestamp[ms, tz=UTC]"
    rows = table.slice(6 * 30, 2).to_pylist()
    assert [(r["user_id"], r["rank"], r["item_id"], r["score"], r["path"], r["version"]) for r in rows] == [
        (7, 1, 7_000, 3.0, "known_user", "1"),
        (7, 2, 7_001, 2.5, "known_user", "1"),
    ]
    assert table.slice(70 * 30, 1).to_pylist()[0]["path"] == "popularity"
    assert [path.name for path in tmp_path.iterdir() if "parquet" in path.name] == ["slates.parquet"]


def test_text_ids(new_cache: Callable[[], str], string_server: Any, tmp_path: Path) -> None:
    cache, out = new_cache(), tmp_path / "slates.parquet"
    build(string_server.grpc_url, cache, Options(users_file(tmp_path, ["007", "8"]), num_items=3), out=out)
    with SlateCache(cache, events="") as reader:
        assert [s.item_ids for s in reader.recommend(["007", "8"])] == [
            ["7000", "7001", "7002"],
            ["8000", "8001", "8002"],
        ]
        assert reader.recommend(["7"])[0].path == "popularity"
    assert pq.read_table(out)["item_id"].to_pylist()[:2] == ["7000", "7001"]


def test_a_build_that_was_killed_goes_on(new_cache: Callable[[], str], toy_server: Any, tmp_path: Path) -> None:
    cache, out = new_cache(), tmp_path / "slates.parquet"
    fill(cache, {1: [70, 71], 2: [72]}, current("0.old"))
    users = list(range(1, 8_001))
    words = command(
        toy_server.grpc_url, cache, "--users", users_file(tmp_path, users), "--items", "12", "--out", str(out)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    with open_cache(cache) as opened:
        while not (building := read_building(opened)) or not building.done:
            assert process.poll() is None
            time.sleep(0.01)
        # The system lets go of the cache with the process; until then nobody else builds.
        with pytest.raises(ServingError, match="another `cascade slates build` writes"), opened.hold("build"):
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
        # What was there before is read until all of the new version is there.
        building, now = read_building(opened), read_current(opened)
        assert building is not None and now is not None and now.version == "0.old"
    with SlateCache(cache, events="") as reader:
        assert [slate.item_ids[:1] for slate in reader.recommend([1, 2, 3])] == [[70], [72], [900]]
    again = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert f"going on behind user {building.done:,}" in again.stderr
    assert pq.read_table(out, columns=["user_id"])["user_id"].to_pylist() == [u for u in users for _ in range(12)]
    with open_cache(cache) as opened:
        assert read_building(opened) is None
        assert not list(opened.scan(entry_key("0.old", b"")))
        # One entry a user, and everybody's.
        entries = [Entry.from_bytes(value) for _, value in opened.scan(entry_key("1", b""))]
        assert len(entries) == 8_001
        assert all(entry is not None and len(entry.item_ids) == 12 for entry in entries)


def test_users_that_can_be_none_are_refused_before_anything_is_built(
    new_cache: Callable[[], str], toy_server: Any, tmp_path: Path
) -> None:
    def refused(users: str, said: str, error: type[CascadeError] = DataError, **options: Any) -> None:
        with pytest.raises(error, match=said):
            build(toy_server.grpc_url, cache, Options(users, **options))

    cache = new_cache()
    refused(users_file(tmp_path, [1, "x"]), "user 2 must be a whole number of 64 bits, .* got 'x'")
    refused(users_file(tmp_path, [2**63]), "user 1 must be a whole number")
    refused(users_file(tmp_path, []), "names no user; expected one id a line")
    refused(str(tmp_path / "absent"), "give 'all', 'active', or a file with one id a line")
    refused("all", "a server does not say who its users are", ConfigError)
    refused("active", "no live events here to tell who is active", CascadeError)
    refused(users_file(tmp_path, [1]), "slate_size must be between 1 and 50", RequestError, num_items=51)
    refused(users_file(tmp_path, [1]), "the model has no such context feature, only", RequestError, context={"a": "1"})
    refused(users_file(tmp_path, [1]), "hour must be integers on this server", RequestError, context={"hour": "x"})
    whole = tmp_path / "users.parquet"
    pq.write_table(pa.table({"user_id": [1, None]}), whole)
    refused(str(whole), "user 2 must be a whole number")
    pq.write_table(pa.table({"user": [1]}), whole)
    refused(str(whole), "as Parquet with a column 'user_id'")
    whole.write_bytes(whole.read_bytes()[:40])
    refused(str(whole), "cannot be read as Parquet")
    with open_cache(cache) as opened:
        assert (read_current(opened), read_building(opened)) == (None, None)
    for out in (tmp_path, tmp_path / "absent" / "slates.parquet"):
        with pytest.raises(ConfigError, match="expected a file in a folder that is there"):
            build(toy_server.grpc_url, cache, Options(users_file(tmp_path, [1])), out=out)


def test_a_server_that_is_away_is_one_sentence(new_cache: Callable[[], str], tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"127\.0\.0\.1:1"):
        build("127.0.0.1:1", new_cache(), Options(users_file(tmp_path, [1])))
    with pytest.raises(CascadeError, match="neither a folder nor the URL of a server"):
        build("http://h:x", new_cache(), Options())
    with pytest.raises(CascadeError, match="is not a folder"):
        build(str(tmp_path / "absent"), new_cache(), Options())
