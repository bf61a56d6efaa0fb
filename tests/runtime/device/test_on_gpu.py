"""On a GPU: CuPy's calls against NumPy's, the kernels against NumPy, search and ranker against NumPy in its place.

Runs by itself on a bare machine, too: python -m pytest --noconftest -c /dev/null tests/runtime/device/test_on_gpu.py
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtime.device.device import Device, cupy_device, stand_in
from runtime.device.kernels import ScoredItems
from runtime.device.neighbours import DeviceNeighbours
from runtime.device.rank import on_device, score_all
from runtime.device.search import DeviceSearch, blocks
from runtime.device.users import Seen
from runtime.neighbours import NeighbourLists
from runtime.ranker.factored import FactoredWeights, score
from runtime.ranker.items import GatheredItems, ItemFeature, StoredItems
from tests.runtime.device import test_kernels
from tests.runtime.device.worlds import packed, world

pytestmark = pytest.mark.gpu("cupy")

# The tests of the kernels, with the card in the place of the processor.
for name in dir(test_kernels):
    if name.startswith("test_"):
        globals()[name] = getattr(test_kernels, name)


@pytest.fixture(scope="module")
def gpu() -> Device:
    # A rehearsal runs every line of these tests without a GPU.
    return stand_in() if os.environ.get("CASCADE_REHEARSAL") else cupy_device()


@pytest.fixture(scope="module")
def cuda(gpu: Device) -> Device:
    """The GPU as the tests of the kernels use it: NumPy's arrays in, NumPy's arrays out."""
    moved = functools.partial(Moved, gpu)
    return Device(gpu.name, np, lambda *shape: moved(gpu.kernels(*shape)), np.asarray, gpu.free_bytes, pin=gpu.pin)


class Moved:
    """Kernels whose arrays are copied to the device and back."""

    def __init__(self, gpu: Device, kernels: Any) -> None:
        self._gpu, self._kernels = gpu, kernels

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            moved = [self._moved(value) for value in args]
            result = getattr(self._kernels, name)(*moved)
            if isinstance(result, tuple):
                return tuple(map(self._gpu.to_host, result))
            if result is not None:
                return self._gpu.to_host(result)
            args[-1][...] = self._gpu.to_host(moved[-1])
            return None

        return call

    def _moved(self, value: Any) -> Any:
        if isinstance(value, ScoredItems):
            return ScoredItems(*map(self._gpu.put, value))
        return self._gpu.put(value) if isinstance(value, np.ndarray) else value


ROWS = np.random.default_rng(0).integers(-1, 50, (40, 30)).astype(np.int32)
VALUES = np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32)
LONG = np.sort(np.random.default_rng(2).integers(0, 1 << 40, 500))
# What the steps call, with an array module and arrays of it.
CALLS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "sort along rows": lambda xp, rows, values, long: xp.sort(xp.concatenate([rows, rows[:, :3]], axis=1), axis=1),
    "take along rows": lambda xp, rows, values, long: xp.take_along_axis(values, xp.maximum(rows, 0) % 30, axis=1),
    "search in long integers": lambda xp, rows, values, long: xp.searchsorted(long, long[::3] + 1, side="right"),
    "stable order": lambda xp, rows, values, long: xp.argsort(rows.ravel() % 7, kind="stable"),
    "where with numbers": lambda xp, rows, values, long: xp.where(rows >= 0, values, np.float32(-np.inf)),
    "divide with rest": lambda xp, rows, values, long: xp.divmod(long, 1 << 20)[1],
    "keys beyond 32 bits": lambda xp, rows, values, long: rows.astype(np.int64) * (1 << 33) + xp.arange(30),
    "places of the true": lambda xp, rows, values, long: xp.flatnonzero(rows.ravel() > 20),
    "assigned by two indices": lambda xp, rows, values, long: _assigned(xp, rows, values),
    "bits of bytes": lambda xp, rows, values, long: (
        (values[0] * 99).astype(np.int8).view(np.uint8) >> (rows & 7).astype(np.uint8) & 1
    ),
    "rounded by NumPy's name": lambda xp, rows, values, long: np.rint(values * np.float32(64)),
    "numbers of NumPy first": lambda xp, rows, values, long: float(np.float64(1.5)) * values.astype(np.float64),
    "products of batches": lambda xp, rows, values, long: values.reshape(4, 10, 30) @ values.reshape(4, 30, 10),
    "sums by NumPy's name": lambda xp, rows, values, long: np.einsum("cl,cl->c", values, values),
    "made like another": lambda xp, rows, values, long: np.empty_like(values, shape=(3, 4)).shape,
    "joined by NumPy's name": lambda xp, rows, values, long: np.concatenate([values, values], axis=1),
}


def _assigned(xp: Any, rows: Any, values: Any) -> Any:
    out = xp.full((40, 31), -np.inf, np.float32)
    out[xp.arange(40)[:, None], xp.broadcast_to(xp.arange(30)[None, ::-1], (40, 30))] = values
    out[:, 1:] *= rows >= 0
    return out


@pytest.mark.parametrize("call", CALLS)
def test_cupy_does_what_numpy_does(gpu: Device, call: str) -> None:
    expected = CALLS[call](np, ROWS, VALUES, LONG)
    found = CALLS[call](gpu.xp, *map(gpu.put, (ROWS, VALUES, LONG)))
    if isinstance(expected, tuple):
        assert found == expected
        return
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(gpu.to_host(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_users", [3, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_search(gpu: Device, num_users: int, dtype: Any) -> None:
    embeddings, queries, eligible, hidden = world(70_000, 0.7, num_users)
    here, there = (
        DeviceSearch(device, blocks(device, embeddings, dtype), eligible).nearest(queries, packed(hidden), 50)
        for device in (stand_in(), gpu)
    )
    np.testing.assert_allclose(gpu.to_host(there.scores), here.scores, atol=4e-6)
    assert np.count_nonzero(gpu.to_host(there.rows) != here.rows) < 0.02 * here.rows.size


@pytest.mark.parametrize("num_users", [3, 70])
def test_half_the_memory_and_exact_scores(gpu: Device, num_users: int) -> None:
    embeddings, queries, eligible, hidden = world(70_000, 0.7, num_users)
    half = DeviceSearch(gpu, blocks(gpu, embeddings, np.float16), eligible, gpu.pin(embeddings))
    whole = DeviceSearch(gpu, blocks(gpu, embeddings), eligible)
    here, there = (search.nearest(queries, packed(hidden), 50) for search in (half, whole))
    # Of user 0 more items tie than are wanted: any of them will do.
    np.testing.assert_allclose(gpu.to_host(here.scores), gpu.to_host(there.scores), atol=1e-6)
    assert np.count_nonzero(gpu.to_host(here.rows[1:] != there.rows[1:])) < 0.02 * here.rows.size


def test_neighbours(gpu: Device) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 40, 1000)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    lists = NeighbourLists(indptr, rng.integers(0, 1000, indptr[-1], np.int32), rng.random(indptr[-1], np.float32))
    seen = Seen(np.repeat(np.arange(50), 20), np.sort(rng.integers(0, 1000, (50, 20)), axis=1).ravel())
    weights = rng.random(len(seen.rows))
    here, there = (
        DeviceNeighbours(device, device.kernels(8, 256, False), lists).scores(seen, weights)
        for device in (stand_in(), gpu)
    )
    np.testing.assert_array_equal(gpu.to_host(there.keys), here.keys)
    np.testing.assert_array_equal(gpu.to_host(there.scores), here.scores)


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("tasks", [0, 3])
def test_ranker(gpu: Device, gathered: bool, tasks: int) -> None:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32) / 4

    items = _gathered(rng, normal) if gathered else StoredItems(normal(500, 3, 16), normal(500, 24))
    layers = ((normal(24, 12), normal(12)), (normal(12, tasks or 1), normal(tasks or 1)))
    weights = FactoredWeights(items, normal(3 * 4, 24), normal(2, 24), normal(2, tasks) if tasks else normal(2), layers)
    fields, hidden, pair = normal(6, 4, 16), normal(6, 24), normal(6, 40, 2)
    rows = rng.integers(0, 500, (6, 40)).astype(np.int32)
    found = score_all(*map(gpu.put, (fields, hidden, rows, pair)), on_device(gpu, weights))
    np.testing.assert_allclose(gpu.to_host(found), score(fields, hidden, rows, pair, weights), atol=2e-5)


def _gathered(rng: np.random.Generator, normal: Callable[..., Any]) -> GatheredItems:
    features = [ItemFeature("id", "categorical", 0, "id"), ItemFeature("tags", "categorical", 4, "tags")]
    values = {"id": np.arange(500, dtype=np.int32), "tags": rng.integers(0, 9, (500, 4)).astype(np.int32)}
    tables = {"id": normal(500, 16), "tags": normal(9, 16)}
    return GatheredItems(features, values, tables, [(normal(1, 16), normal(16))], normal(3, 24), normal(16, 24))
