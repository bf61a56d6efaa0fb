"""A FAISS index on the GPU beside our exact search: the same vectors, users and filters; recall and users/s."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_check.parts import Settings, device_of
from benchmarks.gpu_check.search import COUNT, DIM, ELIGIBLE, SEEN, hidden_items
from benchmarks.gpu_check.timing import timed
from runtime.device.device import Device
from runtime.device.search import DeviceSearch, Found, Hidden, blocks
from runtime.index.allowed import are_set

__all__ = ["measure"]

SEED, MARGIN = 5, 16
# Vectors lie around centres, as trained ones do: so many items around each.
AROUND, SPREAD = 500, 0.7
# FAISS on a GPU checks no filter: more is fetched, at most what it can, and what must not be shown is left out.
FETCHED = math.ceil((COUNT + SEEN + MARGIN) / ELIGIBLE)
# Of product codes so many times as many. They, and what CAGRA gives, are scored again from the embeddings.
OF_CODES = 3
SCORED_AGAIN = ("ivf_pq", "cagra")
LISTS, CHECKED = 4_096, 256
# (queries [B, D], what each must not see) -> the COUNT best.
Call = Callable[[NDArray[np.float32], Hidden], Found]
# (queries, how many) -> scores and rows, of FAISS.
Search = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """Ours first; then the index of settings["kind"], one search setting after the other."""
    import faiss

    device, rng, kind = device_of(settings), np.random.default_rng(SEED), settings["kind"]
    num_items, most = int(settings["num_items"] * settings["scale"]), max(CHECKED, *settings["batches"])
    centres = rng.standard_normal((max(num_items // AROUND, 1), DIM), np.float32)
    embeddings, queries = (_around(rng, centres, count) for count in (num_items, most))
    search = DeviceSearch(device, blocks(device, embeddings), _eligible(rng, num_items))
    hidden = hidden_items(rng, most, num_items)
    checked = (queries[:CHECKED], hidden.of(0, CHECKED))
    exact = device.to_host(search.nearest(*checked, COUNT).rows)
    found: dict[str, Any] = {"num_items": num_items, "faiss": faiss.__version__, "searches": {}}
    calls = itertools.chain(_ours(search), _indexed(faiss, device, search, kind, embeddings, found))
    for name, call in calls:
        rows = device.to_host(call(*checked).rows)
        shared = [len(np.intersect1d(*(row[row >= 0] for row in pair))) for pair in zip(exact, rows, strict=True)]
        of_one: dict[str, Any] = {"recall": sum(shared) / np.count_nonzero(exact >= 0), "batches": {}}
        found["searches"][name] = of_one
        yield found
        for users in settings["batches"]:
            times = timed(device, functools.partial(call, queries[:users], hidden.of(0, users)), users)
            of_one["batches"][str(users)] = times
            yield found
    yield found


def _around(rng: np.random.Generator, centres: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal((count, DIM), np.float32)
    vectors *= SPREAD
    vectors += centres[rng.integers(0, len(centres), count)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _eligible(rng: np.random.Generator, num_items: int) -> NDArray[np.uint8]:
    return np.packbits(rng.random(num_items) < ELIGIBLE, bitorder="little")


def _ours(search: DeviceSearch) -> Iterator[tuple[str, Call]]:
    yield "ours", lambda queries, hidden: search.nearest(queries, hidden, COUNT)


def _indexed(
    faiss: Any, device: Device, search: DeviceSearch, kind: str, embeddings: NDArray, found: dict[str, Any]
) -> Iterator[tuple[str, Call]]:
    """The searches of an index that is built now."""
    has_gpu = hasattr(faiss, "StandardGpuResources")
    if kind == "cagra" and not hasattr(faiss, "GpuIndexCagra"):
        found["skipped"] = "this build of FAISS has no CAGRA"
        return
    lists = max(min(LISTS, len(embeddings) // 39), 1)
    # np: codes are not trained to be compared by their bits, which takes long and is of no use here.
    factory = {"flat": "Flat", "ivf": f"IVF{lists},Flat", "ivf_pq": f"IVF{lists},PQ{DIM // 2}x8np"}
    started, resources = time.perf_counter(), faiss.StandardGpuResources() if has_gpu else None
    if kind == "cagra":
        index = faiss.GpuIndexCagra(resources, DIM, faiss.METRIC_INNER_PRODUCT)
        index.train(embeddings)
    else:
        index = faiss.index_factory(DIM, factory[kind], faiss.METRIC_INNER_PRODUCT)
        index = faiss.index_cpu_to_gpu(resources, 0, index) if has_gpu else index
        index.train(embeddings)
        index.add(embeddings)
    found["build_s"] = time.perf_counter() - started
    fetched = FETCHED * (OF_CODES if kind == "ivf_pq" else 1)
    for name, parameters in _settings(faiss, kind):
        asked = functools.partial(index.search, **({"params": parameters} if parameters else {}))
        yield name, functools.partial(_filtered, device, search, asked, fetched, kind in SCORED_AGAIN)


def _settings(faiss: Any, kind: str) -> Iterator[tuple[str, Any]]:
    if kind == "flat":
        yield "flat", None
    elif kind == "cagra":
        for size in (512, 1024):
            parameters = faiss.SearchParametersCagra()
            parameters.itopk_size = size
            yield f"cagra, itopk {size}", parameters
    else:
        for nprobe in (16, 64):
            yield f"{kind}, nprobe {nprobe}", faiss.SearchParametersIVF(nprobe=nprobe)


def _filtered(
    device: Device,
    search: DeviceSearch,
    asked: Search,
    fetched: int,
    again: bool,
    queries: NDArray[np.float32],
    hidden: Hidden,
) -> Found:
    """The best that may be shown of what an index gave; scored again from the embeddings if `again`."""
    xp, (scores_there, found) = device.xp, asked(queries, fetched)
    rows, scores = device.put(found, np.int32), device.put(scores_there, np.float32)
    users = np.arange(len(queries), dtype=np.int64)
    width = int(search.bitmap.size) * 8
    keys = device.put(np.repeat(users, np.diff(hidden.starts)) * width + hidden.rows)
    keys_of = device.put(users[:, None]) * width + rows
    places = xp.minimum(xp.searchsorted(keys, keys_of.ravel()), len(keys) - 1).reshape(rows.shape)
    items = xp.maximum(rows, 0)
    shown = (rows >= 0) & are_set(search.bitmap, items) & (keys[places] != keys_of)
    if again:
        scores = search.scores(device.put(queries), device.put(users[:, None]), items)
    scores = xp.where(shown, scores, np.float32(-np.inf))
    return Found(*search.kernels.pick(search.kernels.best(scores, COUNT, items), items, scores))
