"""Ten thousand requests, three versions, both layouts, both protocols, several clients at once: every bit again."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from operations.log.collect import collect
from operations.replay.replay import replay
from runtime.log.folder import LogSettings
from tests.ensemble.synthetic import item_id, user_id
from tests.operations.repository import publish_golden

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.long]

NUM_REQUESTS, CLIENTS = 10_000, 4
# A version each: number -> (golden chain, text ids).
VERSIONS = {1: ("exact", False), 2: ("plain", True), 3: ("gathered", True)}


def ask(url, seed, number, text_ids):
    """Ask for slates of one to five users, some unknown, with and without lists, context and a size."""
    from cascade_client import CascadeClient

    rng = np.random.default_rng(seed)

    def raw(make, rows):
        return [value.decode() if isinstance(value := make(int(row), text_ids), bytes) else value for row in rows]

    with CascadeClient(url) as client:
        for _ in range(number):
            users = raw(user_id, rng.integers(0, 20, rng.integers(1, 6)))
            more = {"context": {"device": ["phone"] * len(users)}} if rng.random() < 0.5 else {}
            for name in ("recent_item_ids", "exclude_item_ids"):
                if rng.random() < 0.5:
                    more[name] = [raw(item_id, rng.integers(0, 60, rng.integers(1, 9))) for _ in users]
            client.recommend(users, slate_size=int(rng.integers(1, 21)), **more)


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_every_answer_is_given_again(tmp_path, layout):
    target, settings = tmp_path / "published", LogSettings(tmp_path / "LOG", 1.0)
    each = -(-NUM_REQUESTS // (2 * len(VERSIONS) * CLIENTS))
    for version, (variant, text_ids) in VERSIONS.items():
        publish_golden(target, version, layout, variant)
        prepare_log(settings, target)
        with TritonServer(target, request_log=settings) as server:
            urls = [server.grpc_url, server.http_url] * (CLIENTS // 2)
            clients = [
                threading.Thread(target=ask, args=(url, 100 * version + place, each, text_ids))
                for place, url in enumerate(urls)
            ]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
        collect(settings.folder, tmp_path / "MON")
    found = replay(tmp_path / "MON", last=NUM_REQUESTS)
    assert found.num_requests == each * len(VERSIONS) * CLIENTS >= NUM_REQUESTS / 2
    assert (found.differing, found.rounded, found.left_out) == ({}, set(), {})
