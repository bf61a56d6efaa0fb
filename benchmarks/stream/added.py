"""What a live state adds to a request of the chain, in one process, beside a chain that is told the same items."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.stream.events import INTERACTION, Events
from runtime.stream.folder import state_folder
from runtime.stream.live import events_in
from runtime.stream.state import apply
from runtime.stream.store import LmdbStore
from workflows.core.run import Run

__all__ = ["Added", "clicks_of", "measure_added"]

CLICKS = 5
NUM_REQUESTS = {1: 800, 32: 60}


class Added(NamedTuple):
    """Median and 99th percentile of a request in milliseconds, without and with a live state."""

    users: int
    plain_p50_ms: float
    live_p50_ms: float
    plain_p99_ms: float
    live_p99_ms: float


def measure_added(run: Run, config: Config, folder: Path) -> list[Added]:
    """Ask both chains for the same users in turn: one has their clicks in its state, the other in the request.

    Args:
        run: trained.
        config: with [stream] and without stream features, which the other chain could not have.
        folder: for both chains and the state.
    """
    plain, live = folder / "plain", folder / "live"
    compile_chain(run, msgspec.structs.replace(config, stream=None), plain, "serve")
    compile_chain(run, config, live, "serve")
    ids = {side: np.load(run.folder("data") / "ids" / f"{side}.npy") for side in ("users", "items")}
    random = np.random.default_rng(7)
    clicks = random.integers(0, len(ids["items"]), (len(ids["users"]), CLICKS))
    # Two of each, opened in an order that favours neither.
    with events_in(folder / "events"):
        chains = [(name, Chain.load(folder / name)) for name in ("plain", "live", "live", "plain")]
        spec = chains[1][1].spec.live
        assert spec is not None
        store = LmdbStore(state_folder(folder / "events", spec.stream.state_version), writable=True)
        apply(store, spec.stream, clicks_of(ids, clicks, spec.stream.labels[0]), 0)
        try:
            return [_measure(chains, ids, clicks, users, random) for users in NUM_REQUESTS]
        finally:
            store.close()


def clicks_of(ids: dict[str, NDArray], clicks: NDArray[np.int64], label: str) -> Events:
    """Clicks of every user on some items [U, C], a microsecond apart, as of now."""
    num_users, width = clicks.shape
    num = num_users * width
    nothing = np.full(num, b"", object)
    users, items = np.repeat(ids["users"], width), ids["items"][clicks.ravel()]
    if users.dtype.kind == "S":
        users = users.astype(object)
    if items.dtype.kind == "S":
        items = items.astype(object)
    at = time.time_ns() + 1000 * np.tile(np.arange(width), num_users)
    kind, value = np.full(num, INTERACTION, np.uint8), np.ones(num, np.float32)
    return Events(kind, users, items, at, np.zeros(num, np.uint8), value, nothing, nothing, (label,))


def _measure(
    chains: list[tuple[str, Chain]],
    ids: dict[str, NDArray],
    clicks: NDArray[np.int64],
    users: int,
    random: np.random.Generator,
) -> Added:
    times: dict[str, list[float]] = {"plain": [], "live": []}
    for number in range(NUM_REQUESTS[users]):
        rows = random.integers(0, len(ids["users"]), users)
        asked = {"user_id": _column(ids["users"][rows])}
        told = {**asked, "recent_item_ids": _column(ids["items"][clicks[rows]])}
        for place in range(len(chains)):
            name, chain = chains[(number + place) % len(chains)]
            started_at = time.perf_counter()
            chain.recommend(asked if name == "live" else told)
            times[name].append(1000 * (time.perf_counter() - started_at))
    warm = {name: values[len(values) // 10 :] for name, values in times.items()}
    p50, p99 = ({n: float(np.percentile(values, at)) for n, values in warm.items()} for at in (50, 99))
    return Added(users, p50["plain"], p50["live"], p99["plain"], p99["live"])


def _column(values: NDArray) -> NDArray:
    values = values.astype(object) if values.dtype.kind == "S" else values
    return values[:, None] if values.ndim == 1 else values
