"""The CUDA kernels, run on a processor, against NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from runtime.device.device import Device, stand_in
from runtime.device.kernels import GROUP, SOURCE, ScoredItems
from runtime.device.search import blocks
from tests.runtime.device.emulated import compiler, emulated

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no g++ to compile the kernels with")

DIM, NUM_ITEMS = 16, 700


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return emulated(tmp_path_factory.mktemp("kernels"))


def world(device: Device, dtype: Any, num_users: int, seed: int = 0) -> tuple[np.ndarray, ScoredItems]:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    embeddings[300:400] = embeddings[7]
    array = blocks(device, embeddings, dtype)
    bitmap = np.packbits(np.arange(array.shape[0] * array.shape[2]) < NUM_ITEMS, bitorder="little")
    bitmap &= rng.integers(0, 256, len(bitmap), np.uint8)
    bitmap[40:60] = 0
    hidden = [np.sort(rng.choice(NUM_ITEMS, count, replace=False)) for count in rng.integers(0, 80, num_users)]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in hidden])]).astype(np.int64)
    items = ScoredItems(array, bitmap, starts, np.concatenate(hidden).astype(np.int32))
    return rng.normal(size=(num_users, DIM)).astype(np.float32), items


def both(cuda: Device, items: ScoredItems) -> tuple[Any, Any]:
    shape = (DIM, items.embeddings.shape[2], items.embeddings.dtype == np.float16)
    return cuda.kernels(*shape), stand_in().kernels(*shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("num_users", [1, 31, 32])
def test_maxima(cuda: Device, dtype: Any, num_users: int) -> None:
    queries, items = world(cuda, dtype, num_users)
    ours, numpy = both(cuda, items)
    found, expected, of_scores = (np.full((num_users, items.num_groups), 7, np.float32) for _ in range(3))
    ours.maxima_of_tiles(queries, items, found)
    numpy.maxima_of_tiles(queries, items, expected)
    for number, chunk in enumerate(items.embeddings):
        ours.maxima_of_scores(queries @ chunk.astype(np.float32), items, number * chunk.shape[1], of_scores)
    assert np.isneginf(found).any() and np.isfinite(found).any()
    np.testing.assert_allclose(found, expected, atol=3e-6)
    np.testing.assert_allclose(of_scores, expected, atol=3e-6)
    users = np.repeat(np.arange(num_users), np.diff(items.starts))
    pairs = np.unique(np.stack([users, items.blocked // GROUP]), axis=1).astype(np.int32)
    ours.refresh_maxima(queries, items, *map(np.ascontiguousarray, pairs), found)
    numpy.refresh_maxima(queries, items, *pairs, expected)
    np.testing.assert_allclose(found, expected, atol=3e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_scores(cuda: Device, dtype: Any) -> None:
    queries, items = world(cuda, dtype, 5)
    ours, numpy = both(cuda, items)
    groups = np.array([[0, 3, 21], [-1, 9, 10], [11, 12, 13], [2, 1, 0], [20, 21, -1]], np.int32)
    (rows, found), (expected_rows, expected) = (each.group_scores(queries, items, groups) for each in (ours, numpy))
    np.testing.assert_array_equal(rows, expected_rows)
    assert (rows[1, :GROUP] == -1).all() and rows[0, GROUP] == 3 * GROUP
    assert (np.isneginf(found) == np.isneginf(expected)).all() and np.isneginf(found[1, :GROUP]).all()
    np.testing.assert_allclose(found, expected, atol=3e-6)
    users, rows = np.array([0, 4, 4, 2], np.int32), np.array([699, 0, 350, 7], np.int32)
    np.testing.assert_allclose(
        ours.pair_scores(queries, items.embeddings, users, rows),
        numpy.pair_scores(queries, items.embeddings, users, rows),
        atol=3e-6,
    )
    same = ours.pair_scores(queries, items.embeddings, np.zeros(101, np.int32), np.r_[7, 300:400].astype(np.int32))
    assert len(set(same.tolist())) == 1


@pytest.mark.parametrize("dim", [8, 16, 72])
def test_scores_from_the_memory_of_the_host(cuda: Device, dim: int) -> None:
    """As those of float32 embeddings on the device, bit for bit; 72 dimensions are read in two spans."""
    rng = np.random.default_rng(dim)
    embeddings, queries = (rng.normal(size=(n, dim)).astype(np.float32) / 4 for n in (NUM_ITEMS, 5))
    array, table = blocks(cuda, embeddings), cuda.pin(embeddings)
    ours, numpy = (device.kernels(dim, array.shape[2], False) for device in (cuda, stand_in()))
    users, rows = (rng.integers(0, size, 100).astype(np.int32) for size in (5, NUM_ITEMS))
    found = ours.row_scores(queries, table, users, rows)
    np.testing.assert_array_equal(found, ours.pair_scores(queries, array, users, rows))
    np.testing.assert_allclose(found, numpy.row_scores(queries, table, users, rows), atol=3e-6)
    assert len(ours.row_scores(queries, table, users[:0], rows[:0])) == 0


def test_shared_memory_does_not_grow_with_the_dimensions() -> None:
    """A block has 48 KiB at most, or the kernels do not compile; a processor has no such bound."""
    assert not re.search(r"__shared__[^;]*\bDIM\b", SOURCE.read_text())


def test_halves_are_read_exactly(cuda: Device) -> None:
    """Every finite float16, the smallest among them, times one."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves) & (np.abs(halves) < 2)]
    embeddings = np.zeros((len(halves), DIM), np.float32)
    embeddings[:, 3] = halves
    array = blocks(cuda, embeddings, np.float16)
    query = np.zeros((1, DIM), np.float32)
    query[0, 3] = 2.0**-4  # the products are whole steps where they are not tiny
    kernels = cuda.kernels(DIM, array.shape[2], True)
    rows = np.arange(len(halves), dtype=np.int32)
    found = kernels.pair_scores(query, array, np.zeros_like(rows), rows)
    np.testing.assert_array_equal(found, np.rint(halves.astype(np.float32) * 2.0**16) * np.float32(2.0**-20))


@pytest.mark.parametrize("width", [1, 5, 200, 1000, 5000])
@pytest.mark.parametrize("count", [1, 3, 20, 216, 1000])
def test_best(cuda: Device, width: int, count: int) -> None:
    rng = np.random.default_rng(width * count)
    values = rng.integers(-3, 4, (4, width)).astype(np.float32) / 8  # ties, 0 and -0
    values[1] = rng.normal(size=width)
    values[2, rng.random(width) < 0.8] = -np.inf
    values[3] = -np.inf
    values[0] *= -1
    ties = np.stack([rng.permutation(width) * 3 for _ in range(4)]).astype(np.int32)
    ours, numpy = cuda.kernels(DIM, 256, False), stand_in().kernels(DIM, 256, False)
    np.testing.assert_array_equal(ours.best(values, count), numpy.best(values, count))
    np.testing.assert_array_equal(ours.best(values, count, ties), numpy.best(values, count, ties))


def test_pick(cuda: Device) -> None:
    rng = np.random.default_rng(0)
    rows, scores = rng.integers(0, 1 << 30, (3, 70), np.int32), rng.normal(size=(3, 70)).astype(np.float32)
    places = rng.integers(-1, 70, (3, 40)).astype(np.int32)
    ours, numpy = cuda.kernels(DIM, 256, False), stand_in().kernels(DIM, 256, False)
    for here, there in zip(ours.pick(places, rows, scores), numpy.pick(places, rows, scores), strict=True):
        np.testing.assert_array_equal(here, there)
        assert here.dtype == there.dtype


def test_segment_sums(cuda: Device) -> None:
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    starts = np.unique(np.r_[0, np.random.default_rng(1).integers(0, 1000, 300)])
    ours, numpy = cuda.kernels(DIM, 256, False), stand_in().kernels(DIM, 256, False)
    np.testing.assert_array_equal(ours.segment_sums(values, starts), numpy.segment_sums(values, starts))
    assert len(ours.segment_sums(values[:0], starts[:0])) == 0
