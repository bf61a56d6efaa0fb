"""Exact search on a device against that of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.device import search as device_search
from runtime.device.device import stand_in
from runtime.device.search import MARGIN, DeviceSearch, Hidden
from runtime.index.allowed import Allowed
from runtime.index.search import ItemSearch
from runtime.index.settings import Settings

DIM = 16


def world(num_items: int, share: float, num_users: int) -> tuple[Any, Any, Any, list[Any]]:
    rng = np.random.default_rng(num_items)
    embeddings = rng.normal(size=(num_items, DIM)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings[num_items // 2 : num_items // 2 + 100] = embeddings[3]  # more ties than the margin
    queries = rng.normal(size=(num_users, DIM)).astype(np.float32)
    queries[0] = embeddings[3]
    eligible = np.packbits(rng.random(num_items) < share, bitorder="little")
    hidden = [
        np.sort(rng.choice(num_items, min(count, num_items), replace=False)) for count in range(0, 40 * num_users, 40)
    ]
    hidden[0] = np.array([3, num_items // 2 + 1])
    return embeddings, queries, eligible, hidden


def packed(hidden: list[Any]) -> Hidden:
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in hidden])]).astype(np.int64)
    return Hidden(starts, np.concatenate(hidden).astype(np.int32))


@pytest.mark.parametrize("share", [0.7, 0.002])
@pytest.mark.parametrize(("num_items", "num_users"), [(200, 70), (5_000, 70), (70_000, 5)])
def test_finds_what_the_cpu_finds(num_items: int, share: float, num_users: int) -> None:
    embeddings, queries, eligible, hidden = world(num_items, share, num_users)
    found = DeviceSearch(stand_in(), embeddings, eligible).nearest(queries, packed(hidden), 50)
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
    search = DeviceSearch(stand_in(), embeddings, eligible)
    whole = search.nearest(queries, packed(hidden), 20)
    monkeypatch.setattr(device_search, "WORKSPACE", 4 * 5_000 * 3)
    cut = search.nearest(queries, packed(hidden), 20)
    np.testing.assert_array_equal(whole.rows, cut.rows)
    np.testing.assert_array_equal(whole.scores, cut.scores)
    assert len(search.nearest(queries[:0], packed([np.zeros(0, int)]).of(0, 0), 20).rows) == 0


def test_items_come_and_go() -> None:
    embeddings, queries, eligible, hidden = world(5_000, 0.7, 3)
    search = DeviceSearch(stand_in(), embeddings, eligible)
    best = np.sort(search.nearest(queries, packed(hidden), 20).rows[1])
    search.flip(best)
    assert not np.isin(search.nearest(queries, packed(hidden), 20).rows[1], best).any()
    search.flip(best)
    np.testing.assert_array_equal(np.sort(search.nearest(queries, packed(hidden), 20).rows[1]), best)


def test_half_the_memory_finds_nearly_the_same() -> None:
    embeddings, queries, eligible, hidden = world(5_000, 0.7, 5)
    whole = DeviceSearch(stand_in(), embeddings, eligible).nearest(queries, packed(hidden), 50)
    half = DeviceSearch(stand_in(), embeddings, eligible, np.float16).nearest(queries, packed(hidden), 50)
    np.testing.assert_allclose(whole.scores, half.scores, atol=2e-3)
    shared = [len(np.intersect1d(*pair)) for pair in zip(whole.rows, half.rows, strict=True)]
    assert min(shared[1:]) >= 48


def test_refusals() -> None:
    embeddings, queries, eligible, hidden = world(200, 0.7, 1)
    with pytest.raises(ValueError, match="multiples of 8"):
        DeviceSearch(stand_in(), embeddings[:, :6], eligible)
    with pytest.raises(ValueError, match="selects at most"):
        DeviceSearch(stand_in(), embeddings, eligible).nearest(queries, packed(hidden), 2048 - MARGIN + 1)
