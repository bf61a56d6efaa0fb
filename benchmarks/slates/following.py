"""How soon a user who clicks has a new slate in the cache, while a refresh follows the log."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_client import CascadeClient
from cascade_client.slate_entry import Entry, user_key
from cascade_client.slate_stores import open_store, parse_cache_url
from ensemble.serving.triton import TritonServer

__all__ = ["measure_following"]

POLL_S, LONGEST_S = 0.02, 60.0
# Requests of clicks in a second.
PARTS = 10


def measure_following(
    run: Path, server: TritonServer, events: Path, cache: str, ids: dict[str, NDArray], rate: int, seconds: float
) -> NDArray[np.float64]:
    """Seconds from the acknowledgement of a user's click to the slate that knows it; infinite where none came.

    Args:
        run: exported.
        server: on it, with live events.
        events: their folder.
        cache: URL of a cache in which all users have slates.
        ids: raw ids of "user" and "item".
        rate: users who click each second, each once.
        seconds: for which they do.
    """
    clicking = _Clicking(server.grpc_url, ids, rate, seconds)
    command = [sys.executable, "-m", "scripts.slates", "refresh", str(run), "--follow"]
    given = ["--cache", cache, "--url", server.grpc_url, "--events", str(events)]
    # The first click makes the folder what a refresh can follow.
    clicking.click(clicking.users[:1])
    process = subprocess.Popen([*command, *given], stderr=subprocess.DEVNULL)
    try:
        _wait_for(cache, clicking, 1)
        clicking.start()
        return _wait_for(cache, clicking, len(clicking.users))[1:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        clicking.close()


class _Clicking:
    """Users who click once each, and when that was acknowledged under which offset."""

    def __init__(self, url: str, ids: dict[str, NDArray], rate: int, seconds: float) -> None:
        random = np.random.default_rng(3)
        wanted = min(int(rate * seconds) + 1, len(ids["user"]))
        self.users = [_raw(user) for user in random.permutation(ids["user"])[:wanted].tolist()]
        self._items = [_raw(item) for item in random.choice(ids["item"], wanted).tolist()]
        self._client, self._part = CascadeClient(url), max(rate // PARTS, 1)
        self.known: dict[Any, tuple[float, int]] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def click(self, users: list[Any]) -> None:
        first = len(self.known)
        sent = self._client.send(
            [{"user_id": user, "item_id": self._items[first + place]} for place, user in enumerate(users)]
        )
        now = time.monotonic()
        self.known.update({user: (now, outcome.offset) for user, outcome in zip(users, sent, strict=True)})

    def close(self) -> None:
        self._client.close()

    def _run(self) -> None:
        started_at = time.monotonic()
        for nth, start in enumerate(range(1, len(self.users), self._part)):
            time.sleep(max(started_at + nth / PARTS - time.monotonic(), 0.0))
            self.click(self.users[start : start + self._part])


def _wait_for(cache: str, clicking: _Clicking, count: int) -> NDArray[np.float64]:
    """Until the first users have slates that know their clicks; seconds of each, in their order."""
    store, took = open_store(parse_cache_url(cache), 1.0), dict[Any, float]()
    is_text = isinstance(clicking.users[0], str)
    latest = time.monotonic()
    while len(took) < count and time.monotonic() < latest + LONGEST_S:
        waiting = [(user, *known) for user, known in list(clicking.known.items()) if user not in took]
        found = store.read([user_key(user, is_text) or b"" for user, _, _ in waiting])
        now = time.monotonic()
        for (user, at, offset), value in zip(waiting, found.entries, strict=True):
            entry = Entry.from_bytes(value)
            if entry is not None and entry.offset > offset:
                took[user], latest = now - at, now
        time.sleep(POLL_S)
    store.close()
    return np.array([took.get(user, np.inf) for user in clicking.users[:count]])


def _raw(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
