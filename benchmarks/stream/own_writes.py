"""From an acknowledged click to the next slate: is it known there, and how long did both take."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_client import CascadeClient
from ensemble.serving.triton import TritonServer

__all__ = ["OwnWrites", "measure_own_writes"]


class OwnWrites(NamedTuple):
    """Clicks, how many of them the next slate did not know, and the time from sending to the slate, milliseconds."""

    clicks: int
    missed: int
    p50_ms: float
    p99_ms: float


def measure_own_writes(repository: Path, events: Path, users: NDArray, clicks: int, clients: int) -> OwnWrites:
    """Click on the first item of a slate and ask for the next one, over and over.

    Args:
        repository: that takes in live events.
        events: the folder for them.
        users: raw ids, at least as many as clients; each client has its own.
        clicks: in all.
        clients: at once, each a thread with a connection of its own.
    """
    found: list[tuple[bool, float]] = []
    with TritonServer(repository, events=events) as server:
        parts = np.array_split(users, clients)
        threads = [
            threading.Thread(target=_click, args=(server.grpc_url, part, clicks // clients, found)) for part in parts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    took = np.array([ms for _, ms in found])
    missed = sum(not known for known, _ in found)
    return OwnWrites(len(found), missed, *(float(value) for value in np.percentile(took, [50, 99])))


def _click(url: str, users: NDArray, clicks: int, found: list[tuple[bool, float]]) -> None:
    ids: Sequence = [user.decode() if isinstance(user, bytes) else user for user in users.tolist()]
    with CascadeClient(url, timeout_s=60.0) as client:
        shown: dict = {}
        for number in range(clicks):
            user = ids[number % len(ids)]
            if not shown.get(user):
                shown[user] = list(client.recommend([user])[0].item_ids)
            item = shown[user].pop(0)
            started_at = time.perf_counter()
            (outcome,) = client.send([{"user_id": user, "item_id": item}])
            slate = client.recommend([user])[0]
            found.append((item not in slate.item_ids, 1000 * (time.perf_counter() - started_at)))
            assert outcome.status == "new"
            shown[user] = list(slate.item_ids)
