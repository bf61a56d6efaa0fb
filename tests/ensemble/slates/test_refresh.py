"""Slates in a cache beside a real server with live events: what is clicked, sold out and forgotten, and made anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cascade_client import CascadeClient, RequestRefused, SlateCache
from cascade_client.slate_entry import Entry, entry_key, user_key
from ensemble.config import ChainConfig, Config
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.reload import reload_model
from ensemble.serving.triton import TritonServer
from ensemble.slates.build import Options, build
from ensemble.slates.cache.open import open_cache
from ensemble.slates.records import read_current
from runtime.stream.ingest import Ingest
from runtime.stream.spec import StreamSpec
from tests.ensemble.slates.world import now_ms
from tests.ensemble.synthetic import make_run, user_id
from workflows.core.errors import ServingError
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(600)]

SIZE = 5


class Served:
    """A published repository, its server with live events, and a cache in LMDB."""

    def __init__(self, root: Path, run: Run, config: Config, server: TritonServer) -> None:
        self.root, self.run, self.config, self.server = root, run, config, server
        self.target, self.events = root / "published", root / "published-events"
        self.cache = f"lmdb:{root / 'cache'}"
        self.client = CascadeClient(server.grpc_url)

    def slates(self, name: str, *options: str, status: int = 0) -> str:
        """Run `cascade slates NAME` on the repository; what it says."""
        done = subprocess.run(self.words(name, *options), env=self.environment, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stderr

    def build(self, **options: Any) -> None:
        build(str(self.target), self.cache, Options(**options), url=self.server.grpc_url)

    def words(self, name: str, *options: str) -> list[str]:
        given = ["--cache", self.cache, "--url", self.server.grpc_url]
        return [sys.executable, "-m", "scripts.slates", name, str(self.target), *given, *options]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def click(self, user: Any, *items: Any) -> None:
        outcomes = self.client.send([{"user_id": user, "item_id": item} for item in items])
        assert [outcome.status for outcome in outcomes] == ["new"] * len(items)

    def entry(self, user: Any) -> Entry | None:
        with open_cache(self.cache) as cache:
            current, key = read_current(cache), user_key(user, False)
            assert current is not None and key is not None
            return Entry.from_bytes(cache.get([entry_key(current.version, key)])[0])

    def read(self, user: Any, **request: Any) -> Any:
        with SlateCache(self.cache, events=self.events) as cache:
            return cache.recommend([user], **request)[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("slates")
    # Fewer users in a request than a build asks for at once elsewhere.
    chain = ChainConfig(num_candidates=30, slate_size=SIZE, max_slate_size=20, max_batch_size=20)
    run, plain = make_run(root / "run", num_users=60, num_items=120, chain=chain)
    config = msgspec.structs.replace(plain, stream=StreamConfig())
    export(run, config)
    publish(run, config, root / "published", "fused")
    with TritonServer(root / "published", events=root / "published-events") as server:
        made = Served(root, run, config, server)
        made.build()
        yield made
        made.client.close()


def test_cached_slates_are_the_servers(served):
    users = [user_id(row, False) for row in range(60)]
    with SlateCache(served.cache, events="") as cache:
        made = [slate for start in (0, 20, 40) for slate in served.client.recommend(users[start : start + 20])]
        assert [slate.item_ids for slate in cache.recommend(users)] == [slate.item_ids for slate in made]


def test_more_users_than_one_request_may_hold_get_new_slates(served):
    users = [user_id(row, False) for row in range(25, 50)]
    for user in users:
        served.click(user, served.read(user).item_ids[0])
    with pytest.raises(RequestRefused, match="20"):
        served.client.recommend(users)
    assert "25 slates are new" in served.slates("refresh")


def test_a_user_who_clicks_gets_full_pages_without_and_a_new_slate_that_knows(served):
    user = user_id(7, False)
    shown = served.read(user).item_ids
    assert len(shown) == SIZE
    served.click(user, *shown)
    pages = [served.read(user, page=page) for page in (1, 2)]
    assert [page.path for page in pages] == ["cache", "cache"]
    items = [item for page in pages for item in page.item_ids]
    assert len(items) == len(set(items)) == 2 * SIZE
    assert not set(items) & set(shown)
    said = served.slates("refresh")
    assert "1 slates are new, 0 removed" in said
    entry = served.entry(user)
    assert entry is not None and entry.offset >= SIZE
    assert not set(entry.item_ids) & set(shown)
    assert served.read(user).item_ids == served.client.recommend([user])[0].item_ids
    assert "0 slates are new" in served.slates("refresh")


def test_what_is_sold_out_is_in_no_slate_until_it_is_back(served):
    user = user_id(9, False)
    first = served.read(user).item_ids[0]
    for in_stock in (False, True):
        served.client.send([{"kind": "item", "item_id": first, "in_stock": in_stock}])
        assert (first in served.read(user).item_ids) is in_stock
        assert (first in served.client.recommend([user])[0].item_ids) is in_stock


def test_another_log_is_refused(served, tmp_path):
    shutil.copy(served.events / "stream.json", tmp_path)
    Ingest(tmp_path, StreamSpec.load(tmp_path)).close()
    (tmp_path / "log").mkdir(exist_ok=True)
    said = served.slates("refresh", "--events", str(tmp_path), status=1)
    assert f"the log in {tmp_path} ends at 0: it is another log; give the one of their server" in said


@pytest.mark.long
def test_following_makes_new_slates_until_it_is_stopped(served):
    stranger = 123_456_789
    process = subprocess.Popen(served.words("refresh", "--follow"), env=served.environment, stderr=subprocess.PIPE)
    try:
        user = user_id(11, False)
        served.click(user, served.read(user).item_ids[0])
        served.click(stranger, served.read(user).item_ids[1])
        deadline = time.monotonic() + 120
        while served.entry(stranger) is None or served.entry(user).offset < served.entry(stranger).offset:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        assert served.read(stranger).path == "cache"
        # Nobody else refreshes meanwhile.
        assert "another `cascade slates refresh` writes to the cache" in served.slates("refresh", status=1)
        # A server that was away for a while changes nothing.
        served.server.restart()
        served.server.wait_ready()
        deadline = time.monotonic() + 120
        served.client.send([{"kind": "forget", "user_id": stranger}])
        assert served.read(stranger).path == "popularity"
        while served.entry(stranger) is not None:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1].decode()
    assert process.returncode == 0
    assert "1 removed" in said


def test_active_users_get_new_slates_before_theirs_expire_and_the_others_go(served):
    active = user_id(13, False)
    served.click(active, served.read(active).item_ids[0])
    served.build(ttl_s=3)
    idle = served.entry(user_id(20, False))
    assert idle is not None and idle.expires_ms - idle.made_at_ms == 3_000
    time.sleep(3.1)
    assert served.read(active).path == "popularity"
    asked_at_ms = now_ms()
    served.slates("refresh")
    renewed = served.entry(active)
    assert renewed is not None and renewed.made_at_ms >= asked_at_ms > idle.expires_ms
    assert served.entry(user_id(20, False)) is None
    served.slates("build", "--users", "active")
    assert served.read(active).path == "cache"


def test_a_new_version_takes_the_place_of_the_old_one_at_once(served):
    user = user_id(15, False)
    served.build()
    with SlateCache(served.cache, events="", server=served.server.grpc_url, server_timeout_s=60) as reader:
        assert reader.recommend([user])[0].path == "cache"
        publish(served.run, served.config, served.target, "fused")
        with pytest.raises(ServingError, match=r"the server serves version 1, and .* has 2; load it"):
            served.build()
        reload_model(served.server.grpc_url, served.server.admin_key)
        time.sleep(1.1)
        # The slates are those of another version than the one that is served.
        assert reader.recommend([user])[0].path == "known_user"
        assert "`cascade slates build` makes those of the new one" in served.slates("refresh", status=1)
        served.build()
        assert reader.recommend([user])[0].path == "cache"
    with open_cache(served.cache) as cache:
        versions = {key.split(b"\0")[0] for key, _ in cache.scan(b"e")}
        assert len(versions) == 1 and versions.pop().startswith(b"e2.")
