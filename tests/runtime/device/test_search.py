"""Exact search on a device against that of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.device import search as device_search
from runtime.device.device import stand_in
from runtime.device.search import MARGIN, DeviceSearch, blocks
from runtime.index.allowed import Allowed
from runtime.index.search import ItemSearch
from runtime.index.settings import Settings
from tests.runtime.device.worlds import packed, world


def search_over(embeddings: Any, eligible: Any, dtype: Any = np.float32) -> DeviceSearch:
    return DeviceSearch(stand_in(), blocks(stand_in(), embeddings, dtype), eligible)


@pytest.mark.parametrize("share", [0.7, 0.002])
@pytest.mark.parametrize(("num_items", "num_users"), [(200, 70), (5_000, 70), (70_000, 5)])
def test_finds_what_the_cpu_finds(num_items: int, share: float, num_users: int) -> None:
    embeddings, queries, eligible, hidden = world(num_items, share, num_users)
    found = search_over(embeddings, eligible).nearest(queries, packed(hidden), 50)
    on_cpu = ItemSearch(embeddings, Allowed(eligible), Settings())
    for user in range(num_users):
        rows, scores = on_cpu.nearest(queries[user], hidden[user], 50)
        shown = found.rows[user] >= 0
        np.testing.assert_allclose(found.scores[user][shown], scores, atol=2e-6)
        assert np.isneginf(found.scores[user][~shown]).all()
        # Items whose scores differ by no more than the tolerance may change places.
        assert np.count_nonzero(found.rows[user][shown] != rows) <= 0.05 * len(rows)


def test_large_batches_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, queries, eligible, hidden = world(5_000, 0.7, 9)
    search = search_over(embeddings, eligible)
    whole = search.nearest(queries, packed(hidden), 20)
    monkeypatch.setattr(device_search, "WORKSPACE", 4 * 5_000 * 3)
    cut = search.nearest(queries, packed(hidden), 20)
    np.testing.assert_array_equal(whole.rows, cut.rows)
    np.testing.assert_array_equal(whole.scores, cut.scores)
    assert len(search.nearest(queries[:0], packed([np.zeros(0, int)]).of(0, 0), 20).rows) == 0


def test_items_come_and_go() -> None:
    embeddings, queries, eligible, hidden = world(5_000, 0.7, 3)
    search = search_over(embeddings, eligible)
    best = np.sort(search.nearest(queries, packed(hidden), 20).rows[1])
    search.flip(best)
    assert not np.isin(search.nearest(queries, packed(hidden), 20).rows[1], best).any()
    search.flip(best)
    np.testing.assert_array_equal(np.sort(search.nearest(queries, packed(hidden), 20).rows[1]), best)


def test_half_the_memory_finds_nearly_the_same() -> None:
    embeddings, queries, eligible, hidden = world(5_000, 0.7, 5)
    whole = search_over(embeddings, eligible).nearest(queries, packed(hidden), 50)
    half = search_over(embeddings, eligible, np.float16).nearest(queries, packed(hidden), 50)
    np.testing.assert_allclose(whole.scores, half.scores, atol=2e-3)
    shared = [len(np.intersect1d(*pair)) for pair in zip(whole.rows, half.rows, strict=True)]
    assert min(shared[1:]) >= 48


@pytest.mark.parametrize("num_items", [200, 5_000, 70_000])
def test_half_the_memory_and_exact_scores(num_items: int) -> None:
    embeddings, queries, eligible, hidden = world(num_items, 0.7, 70 if num_items < 70_000 else 5)
    device = stand_in()
    search = DeviceSearch(device, blocks(device, embeddings, np.float16), eligible, device.pin(embeddings))
    found = search.nearest(queries, packed(hidden), 50)
    on_cpu = ItemSearch(embeddings, Allowed(eligible), Settings())
    for user in range(len(queries)):
        rows, scores = on_cpu.nearest(queries[user], hidden[user], 50)
        shown = found.rows[user] >= 0
        np.testing.assert_allclose(found.scores[user][shown], scores, atol=2e-6)
        assert np.count_nonzero(found.rows[user][shown] != rows) <= 0.05 * len(rows)
    pairs = np.array([[3, 9], [0, 1]], np.int32)
    whole = search_over(embeddings, eligible)
    here, there = (each.scores(queries[:2], np.arange(2)[:, None], pairs) for each in (search, whole))
    np.testing.assert_array_equal(here, there)


def test_refusals() -> None:
    embeddings, queries, eligible, hidden = world(200, 0.7, 1)
    with pytest.raises(ValueError, match="multiples of 8"):
        search_over(embeddings[:, :6], eligible)
    with pytest.raises(ValueError, match="selects at most"):
        search_over(embeddings, eligible).nearest(queries, packed(hidden), 2048 - MARGIN + 1)
