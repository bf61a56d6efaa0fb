"""An item that is blocked leaves the slates of a running server and of its cache, and comes back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from cascade_client import CascadeClient, SlateCache
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.reload import reload_model
from ensemble.serving.triton import TritonServer
from ensemble.slates.build import Options, build
from ensemble.slates.refresh import refresh
from operations.blocks import change_blocks, tell_cache
from runtime.blocked import LOOK_EACH_S
from tests.ensemble.synthetic import make_run, user_id

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(180)]
USERS = [user_id(row, False) for row in range(8)]
# A user of whom nothing is known gets the popular items.
STRANGER = 10**9


def slates(client: CascadeClient, without: Sequence[Any] = ()) -> list[list[Any]]:
    asked = [*USERS, STRANGER]
    excluded = [list(without)] * len(asked) if without else None
    return [slate.item_ids for slate in client.recommend(asked, slate_size=10, exclude_item_ids=excluded)]


def wait_for_a_look() -> None:
    """From here on every process of a server looks at the file before its next answer."""
    time.sleep(1.1 * LOOK_EACH_S)


@pytest.mark.parametrize("layout", ["fused", pytest.param("ensemble", marks=pytest.mark.long)])
def test_it_leaves_every_path_of_a_running_server_and_every_later_version(tmp_path, layout) -> None:
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    target = tmp_path / "published"
    publish(run, config, target, layout)
    with TritonServer(target) as server, CascadeClient(server.grpc_url) as client:
        before = slates(client)
        chosen = [before[0][0], before[-1][0]]
        without = slates(client, chosen)
        assert without != before
        change = change_blocks(target, [str(item) for item in chosen], block=True, reason="recall")
        wait_for_a_look()
        assert slates(client) == without
        publish(run, config, target, layout)
        reload_model(server.grpc_url, server.admin_key)
        assert slates(client) == without
        change = change_blocks(target, [str(item) for item in chosen], block=False)
        assert change.blocked == []
        wait_for_a_look()
        assert slates(client) == before


def test_it_leaves_the_pages_of_a_cache_with_the_command_and_with_the_refresh(tmp_path) -> None:
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    cache = f"lmdb:{tmp_path / 'cache'}"
    with TritonServer(run.folder("repo") / "fused") as server, CascadeClient(server.grpc_url) as client:
        build(str(run.root), cache, Options(), url=server.grpc_url)
        with SlateCache(cache, events="") as reader:
            first, second = reader.recommend([USERS[0]])[0].item_ids[:2]
            change = change_blocks(run.root, [str(first)], block=True)
            tell_cache(cache, change)
            assert reader.recommend([USERS[0]])[0].item_ids[0] == second
            wait_for_a_look()
            assert not any(first in slate for slate in slates(client))
            change_blocks(run.root, [str(first)], block=False)
            change_blocks(run.root, [str(second)], block=True)
            refresh(str(run.root), cache, url=server.grpc_url)
            shown = reader.recommend([USERS[0]])[0].item_ids
            assert shown[0] == first and second not in shown
