"""From the query to the slate: retrieval with two sources, merge, ranker and order, on catalogues made here."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_check.parts import Settings, device_of
from benchmarks.gpu_check.timing import timed
from runtime.device.device import Device
from runtime.device.order import DeviceOrder
from runtime.device.rank import DeviceRank
from runtime.device.retrieve import Retrieve
from runtime.index.settings import Settings as IndexSettings
from runtime.ranker.spec import RankerSpec
from runtime.spec import ChainSpec
from runtime.step import Arrays, Step

__all__ = ["measure"]

# The shapes of the ranker and the towers that the shop of 100,000 items trains.
DIM, CANDIDATES, SLATE = 64, 200, 20
QUERY_FIELDS, ITEM_FIELDS, FIELD_DIM, HIDDEN, LAYER = 6, 5, 32, 130, 66
PAIRS = ("tower_score", "neighbour_score", "popularity")
USERS, SEEN, HISTORY, RECENT = 100_000, 50, 20, 5
SOURCES = (("towers:TwoTowers", 4.0), ("neighbours:Neighbours", 0.8))
POPULARITY = "runtime.sources.item_scores:Popularity"
# Rows of the arrays that are repeated: what they hold changes no time.
REPEATED = 1 << 16
SEED = 3


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """Users/s and p50 by the size of the batch; then the steps of the largest by themselves."""
    device, num_items = device_of(settings), int(settings["num_items"] * settings["scale"])
    folder = Path(tempfile.mkdtemp(prefix="gpu_check_", dir=_in_memory(num_items, settings["num_neighbours"])))
    try:
        spec = _spec(num_items)
        _write(folder, num_items, settings["num_neighbours"])
        before = device.free_bytes()
        steps = _open(device, folder, spec)
        found: dict[str, Any] = {"num_items": num_items, "device_gib": (before - device.free_bytes()) / 2**30}
        found["batches"] = {}
        yield found
        for users in settings["batches"]:
            batch = _batch(users, num_items)
            found["batches"][str(users)] = timed(device, functools.partial(_run, steps, batch), users)
            yield found
        most = max(settings["batches"])
        found["steps"] = _steps(device, steps, _batch(most, num_items), most)
        rows = most * CANDIDATES
        found["ranked_rows_per_s"] = rows / (found["steps"]["rank"]["p50_ms"] / 1e3)
        yield found
    finally:
        shutil.rmtree(folder)


def _in_memory(num_items: int, num_neighbours: int) -> str | None:
    """A file system in memory where the files fit into it: a container has often 64 MiB."""
    floats = DIM + ITEM_FIELDS * FIELD_DIM + HIDDEN + 2 * num_neighbours + 8
    needed = 4 * (num_items * floats + USERS * (SEEN + HISTORY))
    try:
        return "/dev/shm" if shutil.disk_usage("/dev/shm").free > 1.1 * needed else None
    except OSError:
        return None


def _open(device: Device, folder: Path, spec: ChainSpec) -> list[Step]:
    sources = [
        {"step": f"runtime.sources.{path}", "settings": {}, "weight": weight, "quota": 0} for path, weight in SOURCES
    ]
    sources.append({"step": POPULARITY, "settings": {"only_unknown": True}, "weight": 0.0, "quota": 0})
    steps: list[Any] = [Retrieve(sources, "popularity"), DeviceRank(), DeviceOrder()]
    for step in steps:
        step.device = device
        step.open(folder, spec)
    return steps


def _run(steps: list[Step], batch: Arrays) -> Arrays:
    arrays = dict(batch)
    for step in steps:
        arrays |= step(arrays)
    return arrays


def _steps(device: Device, steps: list[Step], batch: Arrays, users: int) -> dict[str, dict[str, float]]:
    """Each step by itself, over what the ones before it gave."""
    arrays, found = dict(batch), {}
    for step in steps:
        found[step.name] = timed(device, functools.partial(step, dict(arrays)), users)
        arrays |= step(arrays)
    return found


def _batch(users: int, num_items: int) -> Arrays:
    rng = np.random.default_rng(SEED + users)
    query = rng.normal(size=(users, DIM)).astype(np.float32)
    return {
        "user_row": rng.integers(0, USERS, (users, 1)).astype(np.int32),
        "path_code": np.zeros((users, 1), np.int32),
        "recent_rows": rng.integers(0, num_items, (users, RECENT)).astype(np.int32),
        "excluded_rows": np.full((users, 1), -1, np.int32),
        "query": query / np.linalg.norm(query, axis=1, keepdims=True),
        "popularity_items": np.full((users, 1), -1, np.int32),
        "popularity_scores": np.zeros((users, 1), np.float32),
        "ranker_fields": rng.normal(size=(users, QUERY_FIELDS * FIELD_DIM)).astype(np.float32),
        "ranker_hidden": rng.normal(size=(users, HIDDEN)).astype(np.float32),
        "num_wanted": np.full((users, 1), SLATE, np.int32),
    }


def _write(folder: Path, num_items: int, num_neighbours: int) -> None:
    """The files that the steps open."""
    rng = np.random.default_rng(SEED)
    for name in ("state", "neighbours", "ranker", "ids"):
        (folder / name).mkdir()

    def save(name: str, array: NDArray) -> None:
        np.save(folder / f"{name}.npy", array)

    def repeated(*shape: int) -> NDArray[np.float32]:
        block = rng.normal(size=(min(REPEATED, num_items), *shape)).astype(np.float32)
        return np.resize(block, (num_items, *shape))

    embeddings = rng.standard_normal((num_items, DIM), np.float32)
    save("item_embeddings", embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    save("eligible", np.packbits(rng.random(num_items) < 0.8, bitorder="little"))
    save("ids/items", np.arange(num_items))
    save("popular_scores", np.linspace(1, 0, num_items, dtype=np.float32))
    save("popular", np.arange(num_items))
    save("state/seen_indptr", np.arange(USERS + 1) * SEEN)
    # Distinct for each user: ascending by at least one.
    seen = np.sort(rng.integers(0, num_items - SEEN, (USERS, SEEN)), axis=1).astype(np.int32) + np.arange(
        SEEN, dtype=np.int32
    )
    save("state/seen_rows", seen.ravel())
    save("state/history", rng.permuted(seen, axis=1)[:, :HISTORY])
    save("neighbours/indptr", np.arange(num_items + 1) * num_neighbours)
    save("neighbours/rows", rng.integers(0, num_items, num_items * num_neighbours, np.int32))
    save("neighbours/weights", np.resize(rng.random(REPEATED, np.float32), num_items * num_neighbours))
    save("ranker/item_fields", repeated(ITEM_FIELDS, FIELD_DIM))
    save("ranker/item_hidden", repeated(HIDDEN))
    save("ranker/item_popularity", repeated())
    shapes = {"cross": (ITEM_FIELDS * QUERY_FIELDS, HIDDEN), "pair": (len(PAIRS), HIDDEN), "skip": (len(PAIRS),)}
    shapes |= {"w1": (HIDDEN, LAYER), "b1": (LAYER,), "w2": (LAYER, 1), "b2": (1,)}
    top = {name: rng.normal(size=shape).astype(np.float32) / 8 for name, shape in shapes.items()}
    np.savez(folder / "ranker/top.npz", **top)  # type: ignore[arg-type]


def _spec(num_items: int) -> ChainSpec:
    ranker = RankerSpec(
        *(True, (), (), PAIRS),
        num_query_fields=QUERY_FIELDS,
        num_item_fields=ITEM_FIELDS,
        field_dim=FIELD_DIM,
        hidden=HIDDEN,
    )
    return ChainSpec(
        num_items=num_items,
        num_users=USERS,
        item_id_dtype="INT64",
        user_id_dtype="INT64",
        history_length=HISTORY,
        embedding_dim=DIM,
        num_candidates=CANDIDATES,
        slate_size=SLATE,
        max_slate_size=SLATE,
        max_batch_size=1 << 16,
        num_instances=1,
        max_list_length=1000,
        filter_seen=True,
        user_features=(),
        context_features=(),
        history_feature="recent_item_ids",
        context_columns=(),
        tower_inputs=(),
        index=IndexSettings(),
        recency_boost=0.5,
        recency_decay=0.8,
        sources=(),
        fallback="popularity",
        ranker=ranker,
    )
