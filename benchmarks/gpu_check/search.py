"""Exact search with filters: correctness against a plain product, and speed by the size of the batch."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_check.machine import bandwidth, matrix_rate
from benchmarks.gpu_check.parts import Settings, device_of
from benchmarks.gpu_check.timing import kernel_times, timed
from runtime.device.device import Device
from runtime.device.search import DeviceSearch, Hidden, chunking

__all__ = ["hidden_items", "measure"]

DIM, COUNT, SEEN, ELIGIBLE = 64, 200, 50, 0.8
# Users whose answers are compared with a product of everything, and how far scores may be apart.
CHECKED, TOLERANCE = 4, 4e-6
SEED = 1


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """float32 first, then float16, whose best are scored again from float32 in the host's memory."""
    device, rng = device_of(settings), np.random.default_rng(SEED)
    num_items = int(settings["num_items"] * settings["scale"])
    rates = {"copy": bandwidth(device, settings["scale"]), "matrix": matrix_rate(device, settings["scale"])}
    eligible = np.packbits(rng.random(num_items) < ELIGIBLE, bitorder="little")
    queries = rng.normal(size=(max(CHECKED, *settings["batches"]), DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    hidden = hidden_items(rng, len(queries), num_items)
    found: dict[str, Any] = {"num_items": num_items}
    array, exact = _embeddings(device, num_items), None
    expected = _products(device, array, queries[:CHECKED], num_items)
    for name in ("float32", "float16"):
        if name == "float16":
            exact, array = device.pin(_on_host(device, array, num_items)), array.astype(np.float16)
        search = DeviceSearch(device, array, eligible, exact)
        checked = _checked(device, search, expected, queries, eligible, hidden)
        found[name] = {"checked": checked, "batches": {}}
        yield found
        for users in settings["batches"]:
            call = functools.partial(search.nearest, queries[:users], hidden.of(0, users), COUNT)
            times: dict[str, Any] = timed(device, call, users)
            times["kernels_ms"] = kernel_times(device, search, call)
            seconds = times["p50_ms"] / 1e3
            # A search reads every embedding once: that alone takes this share of the time.
            times["share_of_bandwidth"] = array.nbytes / rates["copy"] / seconds
            times["share_of_matrix_rate"] = 2.0 * num_items * DIM * users / rates["matrix"] / seconds
            if pass_ms := times["kernels_ms"].get("maxima_of_tiles"):
                times["share_of_bandwidth_in_pass"] = array.nbytes / rates["copy"] / (pass_ms / 1e3)
            found[name]["batches"][str(users)] = times
            yield found
        del search


def hidden_items(rng: np.random.Generator, num_users: int, num_items: int) -> Hidden:
    """Items that each of some users must not see."""
    rows = np.sort(rng.integers(0, num_items, (num_users, SEEN)), axis=1)
    is_new = np.diff(rows, axis=1, prepend=-1) > 0
    starts = np.concatenate([[0], np.cumsum(is_new.sum(axis=1))])
    return Hidden(starts.astype(np.int64), rows[is_new].astype(np.int32))


def _embeddings(device: Device, num_items: int) -> Any:
    """Random vectors of length one, made on the device chunk by chunk."""
    xp, (chunks, size) = device.xp, chunking(num_items)
    out = xp.zeros((chunks, DIM, size), np.float32)
    random = xp.random.RandomState(SEED)
    for number in range(chunks):
        filled = min(num_items - number * size, size)
        part = random.normal(size=(DIM, filled)).astype(np.float32)
        part /= xp.sqrt((part * part).sum(axis=0))
        out[number, :, :filled] = part
    return out


def _on_host(device: Device, array: Any, num_items: int) -> NDArray[np.float32]:
    """The same vectors as [N, DIM] in the host's memory."""
    rows, size = np.empty((num_items, DIM), np.float32), array.shape[2]
    for number, chunk in enumerate(array):
        part = rows[number * size : (number + 1) * size]
        part[:] = device.to_host(device.xp.ascontiguousarray(chunk.T))[: len(part)]
    return rows


def _products(device: Device, array: Any, queries: NDArray[np.float32], num_items: int) -> NDArray[np.float32]:
    """Every score of some users, by plain products."""
    asked = device.put(queries)
    products: NDArray[np.float32] = np.concatenate([device.to_host(asked @ chunk) for chunk in array], axis=1)
    return products[:, :num_items]


def _checked(
    device: Device,
    search: DeviceSearch,
    everything: NDArray[np.float32],
    queries: NDArray[np.float32],
    eligible: NDArray[np.uint8],
    hidden: Hidden,
) -> dict[str, float]:
    """How the best of some users differ from those of plain products, of which what must not be seen is crossed out."""
    found = search.nearest(queries[:CHECKED], hidden.of(0, CHECKED), COUNT)
    rows, scores = device.to_host(found.rows), device.to_host(found.scores)
    is_shown = np.unpackbits(eligible, bitorder="little", count=everything.shape[1]).astype(bool)
    everything[:, ~is_shown] = -np.inf
    shared, apart = 0, 0.0
    for user in range(CHECKED):
        everything[user, hidden.rows[hidden.starts[user] : hidden.starts[user + 1]]] = -np.inf
        best = np.argpartition(-everything[user], COUNT)[:COUNT]
        shared += len(np.intersect1d(best, rows[user]))
        apart = max(apart, float(np.abs(np.sort(everything[user, best])[::-1] - scores[user]).max()))
    if apart > TOLERANCE:
        raise SystemExit(f"scores are {apart:.2g} apart from a plain product, more than {TOLERANCE:.2g}")
    return {"users": CHECKED, "scores_apart": apart, "share_of_items": shared / (CHECKED * COUNT)}
